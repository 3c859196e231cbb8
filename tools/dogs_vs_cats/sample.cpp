// sample: the built-in drawn cats and dogs. audit: what is wrong with a folder of pictures.

#include "data/sample.h"

#include <fmt/format.h>

#include <memory>

#include "data/image_folder.h"
#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {

void add_sample(CLI::App& app) {
  auto* verb =
      app.add_subcommand("sample", "Writes drawn cats and dogs as class folders, for a first run with no data");
  struct Options {
    std::string folder;
    SampleOptions sample;
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
  verb->callback([options] {
    write_sample(options->folder, options->sample);
    fmt::print("Wrote {} drawn cats and dogs to {}\n", options->sample.count + options->sample.count / 4,
               options->folder);
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
