#include "data/sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

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

namespace {

/// The batch's items as they are at a later epoch.
void load_again(const Dataset& data, std::uint64_t seed, std::int64_t epoch, Batch& batch) {
  float* item = batch.images.values<float>().data();
  for (int64_t index : batch.indices) {
    Philox random = item_random(seed, epoch, index);
    data.load(index, random, item);
    item += data.shape().size();
  }
}

}  // namespace

Image contact_sheet(const Dataset& data, const Normalization& normalization, const SheetOptions& options) {
  constexpr int kColumns = 8;
  const int64_t wanted = std::min(options.count, data.size());
  const int versions = std::max(options.versions, 1);
  LoaderOptions reading;
  // Where nothing is blended, what is not shown need not be read.
  reading.batch = options.mixup > 0 ? options.batch : std::clamp<int64_t>(wanted, 1, options.batch);
  reading.shuffle = true;
  reading.ahead = 0;
  reading.seed = options.seed;
  reading.warn = [](const std::string&) {};
  Loader loader(std::shared_ptr<const Dataset>(std::shared_ptr<const Dataset>(), &data), reading);
  loader.start(options.epoch);
  std::vector<Image> pictures;
  std::vector<float> scratch;
  Batch batch;
  for (int64_t shown = 0; shown < wanted && loader.next(batch);) {
    const int64_t rows = std::min(batch.count(), wanted - shown);
    pictures.resize(size_t((shown + rows) * versions));
    for (int version = 0; version < versions; ++version) {
      const int64_t epoch = options.epoch + version;
      if (version > 0) load_again(data, options.seed, epoch, batch);
      float* items = batch.images.values<float>().data();
      if (options.mixup > 0)
        mix_rows(items, data.shape().size(),
                 draw_mixture(options.mixup, options.seed, epoch, batch.number, batch.count()), scratch);
      for (int64_t row = 0; row < rows; ++row)
        pictures[size_t((shown + row) * versions + version)] =
            from_floats(items + row * data.shape().size(), data.shape(), normalization);
    }
    shown += rows;
  }
  return contact_sheet(pictures, versions > 1 ? versions : kColumns);
}

}  // namespace weft
