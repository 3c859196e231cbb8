// sample: the built-in drawn cats and dogs. unpack: IDX digits as class folders. audit: what is wrong with a folder of
// pictures.

#include "data/sample.h"

#include <fmt/format.h>

#include <memory>

#include "data/idx.h"
#include "data/image_folder.h"
#include "tools/command_line.h"
#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {

void add_sample(CLI::App& app) {
  auto* verb =
      app.add_subcommand("sample", "Writes drawn cats and dogs as class folders, for a first run with no data");
  struct Options {
    std::string folder;
    SampleOptions sample;
    bool labels = false;
  };
  const auto options = std::make_shared<Options>();
  verb->add_option("DIR", options->folder, "Folder to write to; made where it is missing")->required();
  verb->add_option("--count", options->sample.count, "Training pictures; a quarter as many again are for validation")
      ->check(CLI::Range(8, 1000000))
      ->capture_default_str();
  verb->add_option("--seed", options->sample.seed, "Another seed, other pictures")->capture_default_str();
  verb->add_option("--size", options->sample.size, "Side of a picture, in pixels")
      ->check(CLI::Range(32, 1024))
      ->capture_default_str();
  verb->add_flag("--labels", options->labels,
                 "Scenes with several labels each (cat, dog, indoors, spotted) and labels.csv, in place of classes");
  verb->callback([options] {
    const int pictures = options->sample.count + options->sample.count / 4;
    if (options->labels) {
      write_labelled_sample(options->folder, options->sample);
      fmt::print("Wrote {} drawn scenes and {}/labels.csv\n", pictures, options->folder);
      return;
    }
    write_sample(options->folder, options->sample);
    fmt::print("Wrote {} drawn cats and dogs to {}\n", pictures, options->folder);
  });
}

void add_unpack(CLI::App& app) {
  auto* verb = app.add_subcommand("unpack", "Writes MNIST's IDX files as class folders of PNGs, one for each digit");
  struct Options {
    std::string from, to;
    std::int64_t count = 0;
  };
  const auto options = std::make_shared<Options>();
  verb->add_option("IDX", options->from, "Folder of train-images-idx3-ubyte and its three companions")->required();
  verb->add_option("DIR", options->to, "Folder to write to; made where it is missing")->required();
  verb->add_option("--count", options->count,
                   "Training pictures, as many of each class; a quarter as many for validation; 0: all")
      ->check(number_from(0))
      ->capture_default_str();
  verb->callback([options] {
    const std::int64_t written = unpack_idx_folder(options->from, options->to, options->count);
    fmt::print("Wrote {} pictures to {}\n", written, options->to);
  });
}

void add_audit(CLI::App& app) {
  auto* verb = app.add_subcommand(
      "audit", "Lists each file that cannot be used or is odd, and why; exit 1 if one cannot be used");
  const auto folder = std::make_shared<std::string>();
  verb->add_option("DATA", *folder, "Folder of pictures")->required();
  verb->callback([folder] {
    const auto findings = audit(*folder);
    std::size_t unusable = 0;
    for (const auto& finding : findings) {
      unusable += finding.usable ? 0 : 1;
      fmt::print("{}\t{}\t{}\n", finding.usable ? "odd" : "unusable", finding.path, finding.reason);
    }
    fmt::print("{} cannot be used, {} odd\n", unusable, findings.size() - unusable);
    if (unusable > 0) throw CLI::RuntimeError(1);
  });
}

}  // namespace weft::cli
