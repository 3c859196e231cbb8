#include "data/augment.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "kernels/error.h"

namespace weft {

namespace {

void check_probability(double probability, const char* name) {
  if (!(probability >= 0 && probability <= 1)) {
    fail(fmt::format("{}: a probability of {}; it lies between 0 and 1", name, probability));
  }
}

// Fills what of the rectangle lies inside the picture.
void fill_box(Image& image, Box box, const std::array<uint8_t, 3>& color) {
  int left = std::max(box.x, 0), right = std::min(box.x + box.width, image.width);
  for (int y = std::max(box.y, 0); y < std::min(box.y + box.height, image.height); ++y) {
    for (int x = left; x < right; ++x) std::copy(color.begin(), color.end(), image.row(y) + 3 * x);
  }
}

}  // namespace

RandomZoom::RandomZoom(int size, double max_zoom) : size_(size), max_zoom_(max_zoom) {
  if (size < 1) fail(fmt::format("RandomZoom: a size of {} pixels; at least 1 is needed", size));
  if (!(max_zoom >= 1 && max_zoom <= 16))
    fail(fmt::format("RandomZoom: a zoom of up to {}; it lies between 1 and 16", max_zoom));
}

bool RandomZoom::place(Placement& placement, Philox& random) const {
  if (!placement.is_whole()) return false;
  Size size = short_side_to(placement.width, placement.height, int(uniform(random, 1, max_zoom_) * size_));
  placement.width = size.width;
  placement.height = size.height;
  int x = int(random.below(uint32_t(size.width - size_ + 1))), y = int(random.below(uint32_t(size.height - size_ + 1)));
  placement.window = {x, y, size_, size_};
  return true;
}

RandomRotate::RandomRotate(double degrees, double probability) : degrees_(degrees), probability_(probability) {
  if (!(degrees >= 0 && degrees <= 180))
    fail(fmt::format("RandomRotate: up to {} degrees; between 0 and 180 are meant", degrees));
  check_probability(probability, "RandomRotate");
}

bool RandomRotate::place(Placement& placement, Philox& random) const {
  if (!placement.inside()) return false;  // a black frame is no part of the picture that could be mirrored
  if (!(uniform(random, 0, 1) < probability_)) return true;
  double degrees = uniform(random, -degrees_, degrees_);
  Size size = placement.output();
  // The output at (u, v) shows what lay there turned back.
  placement = Placement::warped(
      placement.to_picture().after(Affine::rotation(-degrees, size.width / 2.0, size.height / 2.0)), size);
  return true;
}

bool RandomDihedral::place(Placement& placement, Philox& random) const {
  int turns = int(random.below(4));
  bool flip = random.below(2) == 1;
  placement.turn(turns);
  if (flip) placement.flip();
  return true;
}

RandomLighting::RandomLighting(double balance, double contrast) : balance_(balance), contrast_(contrast) {
  if (!(balance >= 0 && balance <= 1 && contrast >= 0 && contrast <= 1))
    fail(fmt::format("RandomLighting: balance {} and contrast {}; each lies between 0 and 1", balance, contrast));
}

Image RandomLighting::apply(Image image, Philox& random) const {
  double b = uniform(random, -balance_, balance_), r = uniform(random, -contrast_, contrast_);
  double c = r < 0 ? 1 / (1 - r) : 1 + r;
  uint64_t sum = std::accumulate(image.rgb.begin(), image.rgb.end(), uint64_t{0});
  double mean = double(sum) / double(image.rgb.size());
  uint8_t table[256];
  for (int value = 0; value < 256; ++value)
    table[value] = uint8_t(std::clamp(std::lround((value - mean) * c + mean + 255 * b), 0L, 255L));
  for (uint8_t& value : image.rgb) value = table[value];
  return image;
}

Cutout::Cutout(int length, int holes, std::array<uint8_t, 3> fill) : length_(length), holes_(holes), fill_(fill) {
  if (length < 1 || holes < 1)
    fail(fmt::format("Cutout: {} holes of {} pixels; at least one of each is needed", holes, length));
}

Image Cutout::apply(Image image, Philox& random) const {
  for (int hole = 0; hole < holes_; ++hole) {
    int x = int(random.below(uint32_t(image.width))), y = int(random.below(uint32_t(image.height)));
    fill_box(image, {x - length_ / 2, y - length_ / 2, length_, length_}, fill_);
  }
  return image;
}

RandomErasing::RandomErasing(double probability, double least_area, double most_area, std::array<uint8_t, 3> fill)
    : probability_(probability), least_area_(least_area), most_area_(most_area), fill_(fill) {
  check_probability(probability, "RandomErasing");
  if (!(0 < least_area && least_area <= most_area && most_area <= 1))
    fail(fmt::format("RandomErasing: areas from {} to {} must be fractions in order", least_area, most_area));
}

Image RandomErasing::apply(Image image, Philox& random) const {
  if (!(uniform(random, 0, 1) < probability_)) return image;
  double area = double(image.width) * image.height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    double erased = area * uniform(random, least_area_, most_area_);
    double ratio = std::exp(uniform(random, std::log(0.3), -std::log(0.3)));
    int width = int(std::lround(std::sqrt(erased / ratio))), height = int(std::lround(std::sqrt(erased * ratio)));
    if (width < 1 || height < 1 || width >= image.width || height >= image.height) continue;
    int y = int(random.below(uint32_t(image.height - height + 1)));
    int x = int(random.below(uint32_t(image.width - width + 1)));
    fill_box(image, {x, y, width, height}, fill_);
    break;
  }
  return image;
}

const std::vector<std::string>& Augmentation::names() {
  static const std::vector<std::string> names = {"none", "crop", "side-on", "top-down"};
  return names;
}

bool Augmentation::random() const {
  return set != "none" || rotate > 0 || lighting > 0 || cutout > 0 || erase > 0;
}

Transforms Augmentation::transform(int size) const {
  if (std::find(names().begin(), names().end(), set) == names().end())
    fail(fmt::format("augmentation {}: there is no such set; it is one of {}", set, fmt::join(names(), ", ")));
  bool zooms = set == "side-on" || set == "top-down";
  double degrees = rotate >= 0 ? rotate : zooms ? 10 : 0, light = lighting >= 0 ? lighting : zooms ? 0.05 : 0;
  Transforms steps = set == "none"   ? validation_transform(size)
                     : set == "crop" ? Transforms().then(RandomResizedCrop(size))
                                     : Transforms().then(RandomZoom(size, max_zoom));
  if (degrees > 0) steps = steps.then(RandomRotate(degrees));
  if (set == "crop" || set == "side-on") steps = steps.then(HorizontalFlip());
  if (set == "top-down") steps = steps.then(RandomDihedral());
  if (light > 0) steps = steps.then(RandomLighting(light, light));
  if (cutout > 0) steps = steps.then(Cutout(std::max(1, int(std::lround(cutout * size)))));
  if (erase > 0) steps = steps.then(RandomErasing(erase));
  return steps;
}

}  // namespace weft
