// augment: a contact sheet of training pictures as the model sees them.

#include <fmt/format.h>

#include <memory>

#include "core/files.h"
#include "data/image_folder.h"
#include "kernels/error.h"
#include "tools/dogs_vs_cats/augment_options.h"
#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {

TargetOptions AugmentOptions::targets(const Dataset& train, std::size_t classes) const {
  return {.label_smoothing = label_smoothing,
          .class_weights = parse_class_weights(class_weights, train, static_cast<std::int64_t>(classes)),
          .multi_label = train.multi_label()};
}

void write_augmented_sheet(const std::filesystem::path& path, const LabelledData& data, const SheetOptions& options) {
  const std::vector<std::uint8_t> bytes = encode_png(contact_sheet(*data.train(), data.normalization(), options));
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

namespace {

struct SheetCommand {
  std::string data, out = "augmented.png";
  AugmentOptions augment;
  SheetOptions sheet;
  int size = 224;
};

void write_sheet(const SheetCommand& command) {
  require_choice("--augment", command.augment.augmentation.set, Augmentation::names());
  ImageFolderOptions folder;
  folder.size = command.size;
  folder.seed = command.sheet.seed;
  folder.train_transform = command.augment.augmentation.transform(command.size);
  const LabelledData data = open_dataset(command.data, folder);
  SheetOptions sheet = command.sheet;
  sheet.mixup = command.augment.mixup;
  write_augmented_sheet(command.out, data, sheet);
  fmt::print("Wrote {}: {} of {} training pictures, {}\n", command.out, std::min(sheet.count, data.train()->size()),
             data.train()->size(),
             sheet.versions > 1 ? fmt::format("{} versions of each", sheet.versions) : "as the model sees them");
}

}  // namespace

void add_augment(CLI::App& app) {
  auto* verb = app.add_subcommand("augment", "Draws training pictures as the model sees them, on one sheet");
  const auto command = std::make_shared<SheetCommand>();
  verb->add_option("DATA", command->data, "What `train` takes")->required();
  verb->add_option("--out", command->out, "PNG file to write")->capture_default_str();
  verb->add_option("--size", command->size, "Side of a picture")->check(CLI::Range(1, 4096))->capture_default_str();
  verb->add_option("--count", command->sheet.count, "Pictures")->check(CLI::Range(1, 1024))->capture_default_str();
  verb->add_option("--batch", command->sheet.batch, "As `train` was given: mixup blends the pictures of a batch")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  verb->add_option("--versions", command->sheet.versions, "Of each picture, a row of them")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  verb->add_option("--epoch", command->sheet.epoch, "Whose pictures to show")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  verb->add_option("--seed", command->sheet.seed, "As `train` was given")->capture_default_str();
  add_picture_options(
      [verb](const std::string& name, auto& field, const std::string& help) {
        return verb->add_option("--" + name, field, help)->capture_default_str()->take_last();
      },
      command->augment);
  verb->callback([command] { write_sheet(*command); });
}

}  // namespace weft::cli
