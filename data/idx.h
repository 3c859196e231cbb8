#pragma once
// IDX files, the format of MNIST (yann.lecun.com/exdb/mnist): big-endian header 0 0 TYPE RANK, RANK sizes, the values.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image_folder.h"

namespace weft {

/// An array of bytes: values are row-major in `shape`.
struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> values;
};

/// Reads a file of unsigned bytes; gzip is told by its first bytes. Throws Error: unreadable, another type, a header or
/// a length that does not fit, a broken or cut-short gzip stream.
IdxArray read_idx(const std::string& path);

/// Digits with labels: items are (rows, columns, 1) floats.
class IdxDataset : public Dataset {
 public:
  /// Throws Error unless images are (N, rows, columns) and labels (N), N at least 1.
  IdxDataset(const std::string& images_path, const std::string& labels_path,
             Normalization normalization = mnist_normalization());
  int64_t size() const override { return int64_t(labels_.values.size()); }
  ItemShape shape() const override { return {int(images_.shape[1]), int(images_.shape[2]), 1}; }
  int label(int64_t index) const override { return labels_.values[size_t(index)]; }
  std::string name(int64_t index) const override;
  void load(int64_t index, Philox& random, float* item) const override;
  std::string identity() const override;
  std::string contents() const override;

 private:
  std::string path_;
  IdxArray images_, labels_;
  Normalization normalization_;
};

/// Whether a folder holds train-images-idx3-ubyte or t10k-images-idx3-ubyte, with or without .gz.
bool is_idx_folder(const std::filesystem::path& path);

/// train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or
/// .gz. Classes are "0" to the largest label; the t10k files are the validation part. Values are normalised with
/// MNIST's mean and deviation. Throws Error if a file is missing or the parts do not fit.
LabelledData open_idx_folder(const std::filesystem::path& path);

/// Writes the digits of an IDX folder as PNGs, FOLDER/train/LABEL/00000.png and so on, FOLDER/valid/ likewise: a
/// data set of class folders. `count` training items, and a quarter as many for validation but at least one of
/// each class, are the first of each class in the file, as many of one as of another while they last; 0: all. Returns
/// how many pictures were written. Throws Error as open_idx_folder(), for a count below the number of classes, and
/// where it cannot be written.
int64_t unpack_idx_folder(const std::filesystem::path& path, const std::filesystem::path& folder, int64_t count = 0);

}  // namespace weft
