#pragma once
// What happens to training pictures and to their labels, as options: augmentation, mixup, label smoothing, class
// weights. For `train`, which keeps them in its RUN, and for `augment`, which shows them.

#include <CLI/CLI.hpp>
#include <cstddef>
#include <filesystem>
#include <string>

#include "data/augment.h"
#include "data/sheet.h"
#include "nn/losses.h"
#include "tools/command_line.h"

namespace weft::cli {

struct AugmentOptions {
  Augmentation augmentation;
  double mixup = 0, label_smoothing = 0;
  std::string class_weights;

  /// Throws UsageError for weights that make no sense.
  TargetOptions targets(const Dataset& train, std::size_t classes) const;
};

/// Adds what changes pictures through `keep(name, field, help)`, which returns the CLI::Option.
template <class Keep>
void add_picture_options(const Keep& keep, AugmentOptions& options) {
  Augmentation& a = options.augmentation;
  keep("augment", a.set,
       "Random changes to training pictures: none, crop (resized crop, flip), side-on (zoom, rotation, flip, lighting) "
       "or top-down (the same for what has no upright)");
  keep("max-zoom", a.max_zoom, "Of side-on and top-down")->check(number_from_to(1, 16));
  keep("rotate", a.rotate, "Up to so many degrees either way; -1: as the set has it")->check(number_from_to(-1, 180));
  keep("lighting", a.lighting, "Brightness and contrast change by up to this fraction; -1: as the set has it")
      ->check(number_from_to(-1, 1));
  keep("cutout", a.cutout, "Side of a square hole, as a fraction of the picture's; 0: none")
      ->check(number_from_to(0, 1));
  keep("erase", a.erase, "Probability of erasing a random rectangle")->check(number_from_to(0, 1));
  keep("mixup", options.mixup, "Blends pictures and labels in pairs, the share from Beta(A, A); 0: not at all")
      ->check(number_from_to(0, 100));
}

/// Those, and what changes labels.
template <class Keep>
void add_augment_options(const Keep& keep, AugmentOptions& options) {
  add_picture_options(keep, options);
  keep("label-smoothing", options.label_smoothing, "Part of each label that is spread over all classes")
      ->check(number_from_to(0, 0.999));
  keep("class-weights", options.class_weights,
       "balanced, or a weight for each class: 1,2.5; with several labels a picture, of each label where it is there");
}

/// Writes the pictures as the model is going to see them.
void write_augmented_sheet(const std::filesystem::path& path, const LabelledData& data, const SheetOptions& options);

}  // namespace weft::cli
