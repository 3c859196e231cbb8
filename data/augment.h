#pragma once
// Random changes to training pictures beyond the crop and the flip of transform.h, and the sets of them that go
// together. Each draws from the item's stream alone, so a picture's version depends on (seed, epoch, index).

#include <array>
#include <string>
#include <vector>

#include "data/transform.h"

namespace weft {

/// The colour that holes are filled with: ImageNet's mean, which normalisation turns into 0.
inline constexpr std::array<uint8_t, 3> kMeanColor = {124, 116, 104};

/// Brings the short side to size * uniform(1, max_zoom) pixels and takes a square of `size` at a random place: fast.ai
/// v0.7's RandomScale and random crop. At 1 the square only slides along the long side.
class RandomZoom : public PlacingTransform {
 public:
  explicit RandomZoom(int size, double max_zoom = 1.1);
  bool place(Placement& placement, Philox& random) const override;

 private:
  int size_;
  double max_zoom_;
};

/// Turns by uniform(-degrees, degrees) around the middle, with this probability; beyond the picture's edge its mirror
/// image shows (fast.ai v0.7's RandomRotate). What was chosen before, a crop or a zoom, is composed with it into one
/// resampling (warp.h), which sees pixels outside the crop.
class RandomRotate : public PlacingTransform {
 public:
  explicit RandomRotate(double degrees = 10, double probability = 0.75);
  bool place(Placement& placement, Philox& random) const override;

 private:
  double degrees_, probability_;
};

/// One of the eight symmetries of a square, each as likely: quarter turns with or without a mirror, for pictures that
/// have no upright (satellite images, micrographs). fast.ai v0.7's RandomDihedral. No pixel is interpolated.
class RandomDihedral : public PlacingTransform {
 public:
  bool place(Placement& placement, Philox& random) const override;
};

/// Brightness and contrast: value -> (value - m) c + m + 255 b, with m the mean over all values of the picture, b drawn
/// from uniform(-balance, balance), and c from r in uniform(-contrast, contrast): 1 + r, or 1 / (1 - r) where r is
/// negative, so that as much is taken away as is added. fast.ai v0.7's RandomLighting.
class RandomLighting : public Transform {
 public:
  explicit RandomLighting(double balance = 0.05, double contrast = 0.05);
  Image apply(Image image, Philox& random) const override;

 private:
  double balance_, contrast_;
};

/// `holes` squares of `length` pixels a side, centred anywhere in the picture and cut off at its edge, filled with one
/// colour: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017.
class Cutout : public Transform {
 public:
  explicit Cutout(int length, int holes = 1, std::array<uint8_t, 3> fill = kMeanColor);
  Image apply(Image image, Philox& random) const override;

 private:
  int length_, holes_;
  std::array<uint8_t, 3> fill_;
};

/// With this probability one rectangle of an area between the two fractions, of a log-uniform aspect ratio between 0.3
/// and 1 / 0.3, wholly inside the picture, is filled with one colour: Zhong et al., "Random Erasing Data Augmentation",
/// 2017 (ten tries for a shape that fits, then none, as torchvision has it).
class RandomErasing : public Transform {
 public:
  explicit RandomErasing(double probability = 0.5, double least_area = 0.02, double most_area = 1.0 / 3,
                         std::array<uint8_t, 3> fill = kMeanColor);
  Image apply(Image image, Philox& random) const override;

 private:
  double probability_, least_area_, most_area_;
  std::array<uint8_t, 3> fill_;
};

/// What --augment and its companions say.
struct Augmentation {
  /// none      as validation sees them: Resize, CenterCrop
  /// crop      training_transform(): RandomResizedCrop, HorizontalFlip
  /// side-on   RandomZoom, RandomRotate(10), HorizontalFlip, RandomLighting(0.05, 0.05): things seen from the side.
  ///           fast.ai v0.7's transforms_side_on with max_zoom
  /// top-down  the same with RandomDihedral for the flip: seen from above. fast.ai v0.7's transforms_top_down
  std::string set = "crop";
  double max_zoom = 1.1;  ///< of side-on and top-down
  double rotate = -1;     ///< degrees; -1: the set's own
  double lighting = -1;   ///< balance and contrast, a fraction; -1: the set's own
  double cutout = 0;      ///< the hole's side, as a fraction of the picture's; 0: no hole
  double erase = 0;       ///< RandomErasing's probability; 0: none

  /// Whether pictures differ from epoch to epoch.
  bool random() const;
  /// The transform for pictures of size x size. Throws Error for a set that is none of names().
  Transforms transform(int size) const;
  static const std::vector<std::string>& names();
};

}  // namespace weft
