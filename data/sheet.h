#pragma once
// Contact sheets: many small pictures on one, so that one sees what the model sees.

#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace weft {

/// Pixels between the pictures of a sheet.
inline constexpr int kSheetGap = 4;

/// to_floats() undone, rounded and clipped: `item` is (height, width, channels); one channel gives grey.
Image from_floats(const float* item, ItemShape shape, const Normalization& normalization);

/// Pictures of one size in rows of `columns`, on white. Throws Error for none, or for another size among them.
Image contact_sheet(const std::vector<Image>& pictures, int columns);

/// What a sheet of a data set shows.
struct SheetOptions {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
  std::int64_t count = 16;  ///< items: the first of the epoch, as training meets them
  std::int64_t batch = 64;  ///< as training has it: mixup draws an item's partner from all of its batch
  int versions = 1;         ///< of each item, one an epoch from `epoch` on: a row of them; for 1, rows of eight items
  double mixup = 0;         ///< alpha with which the items of a batch are blended (data/mixup.h); 0: not at all
};

/// Items of `data` as they reach the model: rows of a training Loader's own batches. For one that cannot be read
/// another of its class stands in, as in training, which names it.
Image contact_sheet(const Dataset& data, const Normalization& normalization, const SheetOptions& options);

}  // namespace weft
