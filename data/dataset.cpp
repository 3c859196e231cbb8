#include "data/dataset.h"

#include <utility>

#include "data/idx.h"
#include "data/image_folder.h"
#include "data/label_list.h"

namespace weft {

Dataset::~Dataset() = default;

LabelledData::LabelledData(std::vector<std::string> classes, Normalization normalization,
                           std::shared_ptr<const Dataset> train, std::shared_ptr<const Dataset> train_plain,
                           std::shared_ptr<const Dataset> valid)
    : classes_(std::move(classes)),
      normalization_(std::move(normalization)),
      train_(std::move(train)),
      train_plain_(std::move(train_plain)),
      valid_(std::move(valid)) {}

LabelledData open_dataset(const std::string& path, const ImageFolderOptions& options) {
  if (is_idx_folder(path)) return open_idx_folder(path);
  if (has_label_list(path)) return LabelledPictures(path, options);
  return ImageFolder(path, options);
}

LabelledData open_dataset(const std::string& path) {
  return open_dataset(path, ImageFolderOptions{});
}

}  // namespace weft
