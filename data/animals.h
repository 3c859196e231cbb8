#pragma once
// Inside data/ only: the parts of a drawn picture (data/sample.h puts them together).

#include "data/canvas.h"
#include "data/sample.h"
#include "kernels/philox.h"

namespace weft::drawing {

/// Draws uniform numbers and choices from a Philox stream.
class Dice {
 public:
  Dice(uint64_t seed, uint64_t subsequence) : random_(seed, subsequence) {}
  float between(float low, float high) { return low + (high - low) * random_.uniform(); }
  bool chance(float probability) { return random_.uniform() < probability; }
  int below(int n) { return int(random_.below(uint32_t(n))); }
  uint32_t bits() { return random_.next(); }

 private:
  Philox random_;
};

/// Colours and pattern of a fur, drawn alike for both animals.
struct Coat {
  enum class Pattern { plain, patches, stripes, spots };
  Color base, second, light;
  Pattern pattern = Pattern::plain;
  bool light_face = false;  // muzzle and chest in `light`
  float light_angle = 0;    // where the light comes from
  uint32_t seed = 0;

  static Coat draw(Dice& dice);
  /// The fur's colour at a place of the animal; `distance` to the edge of the part darkens its rim. `tint` replaces the
  /// base colour where given.
  Color at(Point p, float distance, const Color* tint = nullptr) const;
};

/// What surrounds the animal; `lights` are out of focus.
enum class Background { meadow, room, blanket, lights };
void draw_background(Canvas& canvas, Dice& dice, Background background);
/// Any of them.
void draw_background(Canvas& canvas, Dice& dice);

/// The animal in its frame: the head is about 2 units wide around (0, 0), the body hangs below it to y = 2.6.
void draw_animal(Canvas& canvas, const Frame& frame, Animal animal, const Coat& coat, Dice& dice);

/// Light, blur and grain over the finished picture.
void finish(Canvas& canvas, Dice& dice);

}  // namespace weft::drawing
