#pragma once
// Pictures with several labels each, or none, listed in a CSV file.
//
//   path,labels
//   train/0001.jpg,cat indoors
//   train/0002.jpg,
//   "train/with, comma.jpg",dog

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image_folder.h"

namespace weft {

inline constexpr const char* kLabelsFile = "labels.csv";

/// A line of the file.
struct LabelledPath {
  std::string path;                 ///< as written: below the file's folder, or absolute
  std::vector<std::string> labels;  ///< none: the picture shows nothing of what is asked for
  int line = 0;                     ///< counted from 1
};

/// Reads the file: a head "path,labels", then a line a picture, its labels apart by spaces. Fields may stand in double
/// quotes, a quote in them doubled (RFC 4180); lines may end in CR LF; empty ones are passed over. Throws Error, naming
/// the file, the line and what is wrong: another head, another number of fields, an open quote, no path, a path that
/// was listed before, a label that stands twice, no lines at all.
std::vector<LabelledPath> read_label_list(const std::filesystem::path& file);

/// Pictures of which each may have several labels. label() numbers the combinations, so that a picture that cannot be
/// read has one of the same labels to stand in for it.
class MultiLabelPictures : public PictureList {
 public:
  /// `samples[i].label` is a combination's number, `labels[i]` the classes, ascending. Else as PictureList.
  MultiLabelPictures(std::vector<Sample> samples, std::vector<std::vector<int>> labels, int size, Transforms transform,
                     Normalization normalization, bool augmented = false, bool fast_decode = false);
  bool multi_label() const override { return true; }
  std::vector<int> labels(int64_t index) const override { return labels_[size_t(index)]; }

 private:
  std::vector<std::vector<int>> labels_;
};

/// Whether a folder holds labels.csv.
bool has_label_list(const std::filesystem::path& folder);

/// FOLDER/labels.csv and the pictures that it lists: those below train/ and valid/ (or val/), where every path is; else
/// split by `valid_fraction`, as ImageFolder does. Classes are the labels that occur, sorted, unless the options name
/// them. Unusable pictures are left out with a warning. Throws Error: as read_label_list(), a picture that is not there
/// (with its line), a label that is not among the options' classes, fewer than two labels, a part without pictures.
class LabelledPictures : public LabelledData {
 public:
  explicit LabelledPictures(const std::filesystem::path& folder, ImageFolderOptions options = {});
  int64_t unusable() const { return unusable_; }

 private:
  int64_t unusable_ = 0;
};

}  // namespace weft
