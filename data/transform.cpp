#include "data/transform.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/error.h"

namespace weft {

namespace {

int round_half_even(double x) {
  return int(std::nearbyint(x));
}

void check_size(int size, const char* name) {
  if (size < 1) fail(fmt::format("{}: a size of {} pixels; at least 1 is needed", name, size));
}

// Where the middle `want` of `have` begins: torchvision's center_crop. Negative where there is less than wanted.
int middle(int have, int want) {
  return want > have ? -((want - have) / 2) : round_half_even((have - want) / 2.0);
}

void mirror(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    uint8_t *left = image.row(y), *right = left + 3 * (image.width - 1);
    for (; left < right; left += 3, right -= 3) {
      std::swap(left[0], right[0]);
      std::swap(left[1], right[1]);
      std::swap(left[2], right[2]);
    }
  }
}

// Counter-clockwise.
Image turned(Image image, int quarters) {
  if (quarters == 0) return image;
  bool sideways = quarters % 2 == 1;
  Image result(sideways ? image.height : image.width, sideways ? image.width : image.height);
  int w = image.width, h = image.height;
  for (int y = 0; y < result.height; ++y) {
    uint8_t* to = result.row(y);
    for (int x = 0; x < result.width; ++x, to += 3) {
      const uint8_t* from = quarters == 1   ? image.row(x) + 3 * (w - 1 - y)
                            : quarters == 2 ? image.row(h - 1 - y) + 3 * (w - 1 - x)
                                            : image.row(h - 1 - x) + 3 * y;
      std::copy(from, from + 3, to);
    }
  }
  return result;
}

Image mirrored_and_turned(Image image, const Placement& placement) {
  if (placement.flipped) mirror(image);
  return turned(std::move(image), placement.turns);
}

// The part of a placement after its source has been cut out: `cut` is that source, or (float box) a part of `cut` is.
Image render_cut(const ImageView& cut, FloatBox box, const Placement& placement) {
  const Box& window = placement.window;
  Image image(window.width, window.height);
  int left = std::max(window.x, 0), right = std::min(window.x + window.width, placement.width);
  int top = std::max(window.y, 0), bottom = std::min(window.y + window.height, placement.height);
  if (left < right && top < bottom) {
    Box inside{left, top, right - left, bottom - top};
    if (inside == window) {
      resize_window(cut, placement.width, placement.height, box, inside, image.rgb.data());
    } else {
      Image part(inside.width, inside.height);
      resize_window(cut, placement.width, placement.height, box, inside, part.rgb.data());
      for (int y = 0; y < inside.height; ++y) {
        std::memcpy(image.row(top - window.y + y) + 3 * (left - window.x), part.row(y), size_t(3) * inside.width);
      }
    }
  }
  return mirrored_and_turned(std::move(image), placement);
}

FloatBox whole_box(const ImageView& view) {
  return {0, 0, float(view.width), float(view.height)};
}

}  // namespace

double uniform(Philox& random, double low, double high) {
  return low + (high - low) * (double(random.next()) * 0x1p-32);
}

Philox item_random(uint64_t seed, int64_t epoch, int64_t index) {
  static const uint64_t base = subsequence_of("data.item");
  return Philox(seed, base + (uint64_t(epoch) << 40) + uint64_t(index));
}

Placement Placement::whole(int width, int height) {
  Placement placement;
  placement.source = placement.window = {0, 0, width, height};
  placement.width = width;
  placement.height = height;
  return placement;
}

Placement Placement::warped(const Affine& to_picture, Size size) {
  Placement placement = whole(size.width, size.height);
  placement.warp = to_picture;
  return placement;
}

bool Placement::is_whole() const {
  return source.x == 0 && source.y == 0 && width == source.width && height == source.height &&
         window == Box{0, 0, width, height} && turns == 0 && !warp;
}

bool Placement::inside() const {
  return window.x >= 0 && window.y >= 0 && window.x + window.width <= width && window.y + window.height <= height;
}

Size Placement::output() const {
  return turns % 2 == 0 ? Size{window.width, window.height} : Size{window.height, window.width};
}

Affine Placement::to_picture() const {
  double w = window.width, h = window.height;
  // Step by step back from the output: before the turns, before the mirror, in the picture.
  Affine unturned = turns == 0   ? Affine{}
                    : turns == 1 ? Affine{0, -1, w, 1, 0, 0}
                    : turns == 2 ? Affine{-1, 0, w, 0, -1, h}
                                 : Affine{0, 1, 0, -1, 0, h};
  Affine unmirrored = flipped ? Affine{-1, 0, w, 0, 1, 0} : Affine{};
  double across = double(source.width) / width, down = double(source.height) / height;
  Affine shown = warp ? *warp : Affine{across, 0, source.x + across * window.x, 0, down, source.y + down * window.y};
  return shown.after(unmirrored).after(unturned);
}

void Placement::flip() {
  flipped = !flipped;
  turns = (4 - turns) % 4;  // a mirror behind a turn is a turn the other way behind the mirror
}

void Placement::turn(int quarters) {
  turns = (turns + quarters) % 4;
}

Image render(const ImageView& picture, const Placement& placement) {
  if (placement.warp) {
    Box all{0, 0, picture.width, picture.height};
    return mirrored_and_turned(warp(picture, all, picture.width, picture.height, *placement.warp,
                                    placement.window.width, placement.window.height),
                               placement);
  }
  ImageView cut = picture.crop(placement.source);
  return render_cut(cut, whole_box(cut), placement);
}

Image render(ImageReader& reader, const Placement& placement, bool fast) {
  if (placement.warp) {
    int width = reader.width(), height = reader.height();
    Box needed = warp_source(*placement.warp, placement.window.width, placement.window.height, width, height);
    return mirrored_and_turned(warp(reader.read(needed), needed, width, height, *placement.warp, placement.window.width,
                                    placement.window.height),
                               placement);
  }
  const Box& source = placement.source;
  int reduce = 1;
  if (fast && reader.can_reduce()) {
    while (reduce < 8 && source.width >= int64_t(4) * reduce * placement.width &&
           source.height >= int64_t(4) * reduce * placement.height) {
      reduce *= 2;
    }
  }
  Image cut = reader.read(source, reduce);
  if (reduce == 1) return render_cut(cut, whole_box(cut), placement);
  float left = float(source.x % reduce) / float(reduce), top = float(source.y % reduce) / float(reduce);
  FloatBox box{left, top, std::min(left + float(source.width) / float(reduce), float(cut.width)),
               std::min(top + float(source.height) / float(reduce), float(cut.height))};
  return render_cut(cut, box, placement);
}

Transform::~Transform() = default;

Image PlacingTransform::apply(Image image, Philox& random) const {
  Placement placement = Placement::whole(image.width, image.height);
  WEFT_CHECK(place(placement, random), "a whole placement takes every transform");
  return render(image, placement);
}

Resize::Resize(int size) : size_(size) {
  check_size(size, "Resize");
}

bool Resize::place(Placement& placement, Philox&) const {
  if (!placement.is_whole()) return false;
  Size size = short_side_to(placement.width, placement.height, size_);
  placement.width = size.width;
  placement.height = size.height;
  placement.window = {0, 0, size.width, size.height};
  return true;
}

CenterCrop::CenterCrop(int size) : size_(size) {
  check_size(size, "CenterCrop");
}

bool CenterCrop::place(Placement& placement, Philox&) const {
  Box& window = placement.window;
  if (placement.flipped || placement.turns != 0 || placement.warp) return false;  // half to even is not symmetric
  window = {window.x + middle(window.width, size_), window.y + middle(window.height, size_), size_, size_};
  return true;
}

RandomResizedCrop::RandomResizedCrop(int size, Range scale, Range ratio) : size_(size), scale_(scale), ratio_(ratio) {
  check_size(size, "RandomResizedCrop");
  if (!(0 < scale.low && scale.low <= scale.high && 0 < ratio.low && ratio.low <= ratio.high)) {
    fail(fmt::format("RandomResizedCrop: scale {} to {} and ratio {} to {} must be positive and in order", scale.low,
                     scale.high, ratio.low, ratio.high));
  }
}

Box RandomResizedCrop::choose(int width, int height, Philox& random) const {
  double area = double(width) * height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    double target = area * uniform(random, scale_.low, scale_.high);
    double ratio = std::exp(uniform(random, std::log(ratio_.low), std::log(ratio_.high)));
    double w = std::nearbyint(std::sqrt(target * ratio)), h = std::nearbyint(std::sqrt(target / ratio));
    if (w >= 1 && w <= width && h >= 1 && h <= height) {
      int y = int(random.below(uint32_t(height - int(h) + 1)));
      int x = int(random.below(uint32_t(width - int(w) + 1)));
      return {x, y, int(w), int(h)};
    }
  }
  int w = width, h = height;
  double ratio = double(width) / height;
  if (ratio < ratio_.low) h = std::clamp(round_half_even(w / ratio_.low), 1, height);
  if (ratio > ratio_.high) w = std::clamp(round_half_even(h * ratio_.high), 1, width);
  return {(width - w) / 2, (height - h) / 2, w, h};
}

bool RandomResizedCrop::place(Placement& placement, Philox& random) const {
  if (!placement.is_whole()) return false;
  placement.source = choose(placement.width, placement.height, random);
  placement.width = placement.height = size_;
  placement.window = {0, 0, size_, size_};
  return true;
}

HorizontalFlip::HorizontalFlip(double probability) : probability_(probability) {
  if (!(probability >= 0 && probability <= 1)) {
    fail(fmt::format("HorizontalFlip: a probability of {}; it lies between 0 and 1", probability));
  }
}

bool HorizontalFlip::place(Placement& placement, Philox& random) const {
  if (uniform(random, 0, 1) < probability_) placement.flip();
  return true;
}

Transforms::Transforms(std::vector<std::shared_ptr<const Transform>> steps) : steps_(std::move(steps)) {}

Transforms Transforms::then(std::shared_ptr<const Transform> transform) const {
  Transforms longer = *this;
  longer.steps_.push_back(std::move(transform));
  return longer;
}

Image Transforms::apply(ImageReader& reader, Philox& random, bool fast) const {
  Placement placement = Placement::whole(reader.width(), reader.height());
  size_t step = 0;
  for (; step < steps_.size(); ++step) {
    auto* placing = dynamic_cast<const PlacingTransform*>(steps_[step].get());
    if (!placing || !placing->place(placement, random)) break;
  }
  Image image = render(reader, placement, fast);
  for (; step < steps_.size(); ++step) image = steps_[step]->apply(std::move(image), random);
  return image;
}

Image Transforms::apply(Image image, Philox& random) const {
  for (const auto& step : steps_) image = step->apply(std::move(image), random);
  return image;
}

Transforms validation_transform(int size) {
  return Transforms().then(Resize(size)).then(CenterCrop(size));
}

Transforms training_transform(int size) {
  return Transforms().then(RandomResizedCrop(size)).then(HorizontalFlip());
}

Normalization imagenet_normalization() {
  return {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
}

Normalization mnist_normalization() {
  return {{0.1307f}, {0.3081f}};
}

void to_floats(const Image& image, const Normalization& normalization, float* out) {
  int channels = normalization.channels();
  if ((channels != 1 && channels != 3) || normalization.std.size() != normalization.mean.size()) {
    fail(fmt::format("a normalisation of {} means and {} deviations; 1 of each or 3 are needed", channels,
                     normalization.std.size()));
  }
  // Scale and shift for 16 pixels in a row, so that the inner loop is plain vector arithmetic.
  constexpr int kRun = 48;
  float scale[kRun], shift[kRun];
  for (int i = 0; i < kRun; ++i) {
    float mean = normalization.mean[i % channels], std = normalization.std[i % channels];
    scale[i] = 1.0f / (255.0f * std);
    shift[i] = -mean / std;
  }
  int64_t pixels = int64_t(image.width) * image.height;
  if (channels == 1) {
    for (int64_t i = 0; i < pixels; ++i) out[i] = float(grey_value(&image.rgb[3 * i])) * scale[0] + shift[0];
    return;
  }
  const uint8_t* in = image.rgb.data();
  int64_t n = 3 * pixels, i = 0;
  for (; i + kRun <= n; i += kRun) {
    for (int j = 0; j < kRun; ++j) out[i + j] = float(in[i + j]) * scale[j] + shift[j];
  }
  for (int j = 0; i < n; ++i, ++j) out[i] = float(in[i]) * scale[j] + shift[j];
}

}  // namespace weft
