#include "data/sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "data/loader.h"
#include "data/mixup.h"
#include "kernels/error.h"

namespace weft {

Image from_floats(const float* item, ItemShape shape, const Normalization& normalization) {
  Image image(shape.width, shape.height);
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    size_t channel = shape.channels == 1 ? 0 : i % 3, at = shape.channels == 1 ? i / 3 : i;
    float value = (item[at] * normalization.std[channel] + normalization.mean[channel]) * 255;
    image.rgb[i] = uint8_t(std::clamp(std::lround(value), 0L, 255L));
  }
  return image;
}

Image contact_sheet(const std::vector<Image>& pictures, int columns) {
  if (pictures.empty()) fail("a contact sheet of no pictures");
  columns = std::clamp(columns, 1, int(pictures.size()));
  int rows = (int(pictures.size()) + columns - 1) / columns, width = pictures[0].width, height = pictures[0].height;
  Image sheet(columns * width + (columns + 1) * kSheetGap, rows * height + (rows + 1) * kSheetGap);
  std::fill(sheet.rgb.begin(), sheet.rgb.end(), uint8_t{255});
  for (size_t i = 0; i < pictures.size(); ++i) {
    const Image& picture = pictures[i];
    if (picture.width != width || picture.height != height) {
      fail(fmt::format("a contact sheet's pictures are of one size: the first is {} x {}, number {} is {} x {}", width,
                       height, i, picture.width, picture.height));
    }
    int left = kSheetGap + int(i) % columns * (width + kSheetGap),
        top = kSheetGap + int(i) / columns * (height + kSheetGap);
    for (int y = 0; y < height; ++y) std::memcpy(sheet.row(top + y) + 3 * left, picture.row(y), size_t(3) * width);
  }
  return sheet;
}

Image contact_sheet(const Dataset& data, const Normalization& normalization, const SheetOptions& options) {
  constexpr int kColumns = 8;
  const int64_t size = data.shape().size(), wanted = std::min(options.count, data.size());
  std::vector<int64_t> indices;
  std::vector<std::vector<float>> versions(size_t(std::max(options.versions, 1)));  // each a batch of items
  for (int64_t index : Loader::order(data.size(), true, options.seed, options.epoch)) {
    if (int64_t(indices.size()) >= wanted) break;
    try {
      for (size_t version = 0; version < versions.size(); ++version) {
        std::vector<float>& batch = versions[version];
        batch.resize((indices.size() + 1) * size_t(size));
        Philox random = item_random(options.seed, options.epoch + int64_t(version), index);
        data.load(index, random, batch.data() + indices.size() * size_t(size));
      }
      indices.push_back(index);
    } catch (const Error&) {
      // Training meets it too, and names it.
    }
  }
  std::vector<float> scratch;
  for (size_t version = 0; version < versions.size() && options.mixup > 0; ++version) {
    mix_rows(versions[version].data(), size,
             draw_mixture(options.mixup, options.seed, options.epoch + int64_t(version), 0, int64_t(indices.size())),
             scratch);
  }
  std::vector<Image> pictures;
  for (size_t item = 0; item < indices.size(); ++item) {
    for (const std::vector<float>& batch : versions)
      pictures.push_back(from_floats(batch.data() + item * size_t(size), data.shape(), normalization));
  }
  return contact_sheet(pictures, options.versions > 1 ? options.versions : kColumns);
}

}  // namespace weft
