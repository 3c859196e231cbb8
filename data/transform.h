#pragma once
// What happens to a picture between its file and the network. A transform is one class with one function; own ones plug
// in by deriving from Transform (tests/data/transform_test.cpp has one).
//
// Most built-in transforms only choose *where* the output's pixels come from. They do so on a Placement, before
// anything is decoded, so that a random crop decodes no more than the crop and resizes straight into the output.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/resize.h"
#include "data/warp.h"
#include "kernels/philox.h"

namespace weft {

/// The random numbers of one item: they depend on the seed, the epoch and the item's index, and on nothing else (not
/// on the thread, the batch or the machine). `epoch` is below 2^24, `index` below 2^40.
Philox item_random(uint64_t seed, int64_t epoch, int64_t index);
/// Uniform in [low, high), 32 bits of it.
double uniform(Philox& random, double low, double high);

/// Which pixels of a picture to show: `source` of it, resized to width x height, of that the part inside `window`
/// (black where the window reaches outside), mirrored left to right if `flipped`, then turned counter-clockwise by
/// `turns` quarters. With `warp` the pixels come from where it says instead (warp.h), and of `window` only the size
/// counts.
struct Placement {
  Box source;
  int width = 0;
  int height = 0;
  Box window;
  bool flipped = false;
  int turns = 0;
  std::optional<Affine> warp;

  /// The whole picture as it is.
  static Placement whole(int width, int height);
  /// An output of `size` whose point (u, v) shows the picture's point to_picture(u, v).
  static Placement warped(const Affine& to_picture, Size size);
  /// Whether nothing but `flipped` has been chosen yet.
  bool is_whole() const;
  /// Whether the window lies inside the resized picture: no black frame.
  bool inside() const;
  /// What it gives: width and height after the turns.
  Size output() const;
  /// From a point of the output to the picture's point shown there.
  Affine to_picture() const;
  /// Mirrors left to right what is shown so far; turns it counter-clockwise by quarters.
  void flip();
  void turn(int quarters);

  bool operator==(const Placement&) const = default;
};

/// The picture that a placement describes.
Image render(const ImageView& picture, const Placement& placement);
/// The same, decoding no more than needed. `fast` lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size where at least
/// twice the output's size is left; the values then differ a little from Pillow's. A warp is always exact.
Image render(ImageReader& reader, const Placement& placement, bool fast = false);

/// One step on a picture. Must not change itself while it works: one object serves all decoding threads.
class Transform {
 public:
  virtual ~Transform();
  virtual Image apply(Image image, Philox& random) const = 0;
  /// What it does, with its numbers ("resize 256"): part of Dataset::identity(). Empty: cannot be told.
  virtual std::string describe() const;
};

/// A transform that only moves pixels.
class PlacingTransform : public Transform {
 public:
  /// Adds this step to what `placement` says already. Returns false, with nothing drawn from `random`, if the step
  /// cannot be expressed on top of it; the placement is then rendered, and place() called again with a whole one, which
  /// must succeed.
  virtual bool place(Placement& placement, Philox& random) const = 0;
  Image apply(Image image, Philox& random) const final;
};

/// torchvision.transforms.Resize(size): short side to `size`, antialiased bilinear.
class Resize : public PlacingTransform {
 public:
  explicit Resize(int size);
  bool place(Placement& placement, Philox& random) const override;
  std::string describe() const override;

 private:
  int size_;
};

/// torchvision.transforms.CenterCrop(size): the middle, offset rounded half to even; a smaller picture gets a black
/// frame.
class CenterCrop : public PlacingTransform {
 public:
  explicit CenterCrop(int size);
  bool place(Placement& placement, Philox& random) const override;
  std::string describe() const override;

 private:
  int size_;
};

/// torchvision.transforms.RandomResizedCrop(size): a rectangle of `scale` of the area with a log-uniform aspect ratio
/// (width / height), resized to size x size; ten tries, then the largest middle part within the ratios.
/// Szegedy et al., "Going Deeper with Convolutions", 2015.
class RandomResizedCrop : public PlacingTransform {
 public:
  struct Range {
    double low, high;
  };
  explicit RandomResizedCrop(int size, Range scale = {0.08, 1.0}, Range ratio = {3.0 / 4.0, 4.0 / 3.0});
  bool place(Placement& placement, Philox& random) const override;
  /// The rectangle chosen in a picture of width x height.
  Box choose(int width, int height, Philox& random) const;

 private:
  int size_;
  Range scale_, ratio_;
};

/// Mirrors left to right with this probability.
class HorizontalFlip : public PlacingTransform {
 public:
  explicit HorizontalFlip(double probability = 0.5);
  bool place(Placement& placement, Philox& random) const override;

 private:
  double probability_;
};

/// Transforms in the order in which they are applied. Cheap to copy.
class Transforms {
 public:
  Transforms() = default;
  explicit Transforms(std::vector<std::shared_ptr<const Transform>> steps);
  /// These, followed by one more: `validation_transform(224).then(MyTransform())`.
  template <typename T>
  Transforms then(T transform) const {
    return then(std::shared_ptr<const Transform>(std::make_shared<T>(std::move(transform))));
  }
  Transforms then(std::shared_ptr<const Transform> transform) const;

  /// Applies them to a picture that is not decoded yet. `fast` as in render().
  Image apply(ImageReader& reader, Philox& random, bool fast = false) const;
  /// Applies them to a picture.
  Image apply(Image image, Philox& random) const;
  /// All of them in order; empty where one cannot tell.
  std::string describe() const;

 private:
  std::vector<std::shared_ptr<const Transform>> steps_;
};

/// Resize(size), CenterCrop(size): what validation, prediction and cached features use.
Transforms validation_transform(int size);
/// RandomResizedCrop(size), HorizontalFlip(): what training uses.
Transforms training_transform(int size);

/// (value / 255 - mean) / std for each channel. One channel takes the grey value, as Pillow's convert("L").
struct Normalization {
  std::vector<float> mean;
  std::vector<float> std;
  int channels() const { return int(mean.size()); }
  bool operator==(const Normalization&) const = default;
};
/// ImageNet's, which every torchvision model expects.
Normalization imagenet_normalization();
/// MNIST's own, over its 60,000 training digits: mean 0.1307, standard deviation 0.3081; one channel.
Normalization mnist_normalization();

/// Writes a picture as floats: `out` is (height, width, channels). Throws Error unless there are 1 or 3 channels.
void to_floats(const Image& image, const Normalization& normalization, float* out);

/// ITU-R 601 luma as Pillow computes it: (19595 R + 38470 G + 7471 B + 32768) / 65536.
inline uint8_t grey_value(const uint8_t* rgb) {
  return uint8_t((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

}  // namespace weft
