#pragma once
// What the loader reads from, and what a Learner trains on. Own data sets plug in by deriving from Dataset
// (tests/data/loader_test.cpp has one).

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/transform.h"
#include "kernels/philox.h"

namespace weft {

/// The shape of one item: (height, width, channels) floats.
struct ItemShape {
  int height = 0;
  int width = 0;
  int channels = 0;
  int64_t size() const { return int64_t(height) * width * channels; }
  bool operator==(const ItemShape&) const = default;
};

/// A list of labelled items. All functions may be called by several threads at once.
class Dataset {
 public:
  virtual ~Dataset();
  virtual int64_t size() const = 0;
  virtual ItemShape shape() const = 0;
  /// 0 up to the number of classes, for index 0 up to size(). Where multi_label(): any number, the same for items that
  /// have the same labels.
  virtual int label(int64_t index) const = 0;
  /// Whether an item may have several labels, or none. Otherwise it has one class.
  virtual bool multi_label() const { return false; }
  /// The classes that an item belongs to, ascending.
  virtual std::vector<int> labels(int64_t index) const { return {label(index)}; }
  /// What messages call the item: its path, or "file[3]".
  virtual std::string name(int64_t index) const = 0;
  /// Writes the item, shape() floats, ready for the network. What it writes may depend on the index and on what it
  /// draws from `random`, and on nothing else. Throws Error, naming the item, if it cannot be read.
  virtual void load(int64_t index, Philox& random, float* item) const = 0;
  /// Whether load() draws from `random`, so that an item differs from epoch to epoch and its features cannot be kept.
  virtual bool augmented() const { return false; }
  /// All that the items depend on (files with sizes and times, transform), as a text that is another where they may be
  /// others: features kept of them are taken again where it is the same. Empty: unknown, and nothing is kept.
  virtual std::string identity() const;
  /// Which items these are, wherever they lie and whatever becomes of them on their way to the model: the files' names,
  /// sizes and labels, as a text that is another where one of these is. A training is gone on with on the same alone.
  /// Empty: unknown, and not compared.
  virtual std::string contents() const;
};

/// Two parts of one collection, with names for the labels. A value: copies share the data sets.
class LabelledData {
 public:
  LabelledData() = default;
  LabelledData(std::vector<std::string> classes, Normalization normalization, std::shared_ptr<const Dataset> train,
               std::shared_ptr<const Dataset> train_plain, std::shared_ptr<const Dataset> valid);

  const std::vector<std::string>& classes() const { return classes_; }
  /// How pixels became floats; a RUN's config.json holds it.
  const Normalization& normalization() const { return normalization_; }
  ItemShape shape() const { return valid_->shape(); }
  /// The training items, augmented.
  std::shared_ptr<const Dataset> train() const { return train_; }
  /// The training items in the same order as validation sees its own: what features are computed from once and kept.
  std::shared_ptr<const Dataset> train_plain() const { return train_plain_; }
  std::shared_ptr<const Dataset> valid() const { return valid_; }

 protected:
  std::vector<std::string> classes_;
  Normalization normalization_;
  std::shared_ptr<const Dataset> train_, train_plain_, valid_;
};

struct ImageFolderOptions;  // data/image_folder.h
class ImageFolder;

/// Opens a folder as what it holds: IDX files (data/idx.h), labels.csv and pictures with several labels each
/// (data/label_list.h), else class folders of pictures (data/image_folder.h). The
/// options are for pictures: IDX items keep their size and MNIST's normalisation.
LabelledData open_dataset(const std::string& path, const ImageFolderOptions& options);
LabelledData open_dataset(const std::string& path);

}  // namespace weft
