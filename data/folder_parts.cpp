#include "data/folder_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace weft {

namespace {

constexpr int kMostWarnings = 10;

void warn(const ImageFolderOptions& options, const std::string& line) {
  if (options.warn) {
    options.warn(line);
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

}  // namespace

void check_options(const ImageFolderOptions& options) {
  if (options.size < 1) fail(fmt::format("a picture size of {} pixels; at least 1 is needed", options.size));
  if (!(options.valid_fraction >= 0 && options.valid_fraction <= 1)) {
    fail(fmt::format("a validation fraction of {}; it lies between 0 and 1", options.valid_fraction));
  }
}

std::vector<size_t> chosen_for_validation(const std::vector<std::string>& paths, const std::filesystem::path& root,
                                          const ImageFolderOptions& options) {
  const double fraction = options.valid_fraction;
  std::vector<std::pair<uint64_t, size_t>> keys;
  for (size_t i = 0; i < paths.size(); ++i) {
    std::string below = std::filesystem::path(paths[i]).lexically_relative(root).generic_string();
    auto numbers = philox4x32_10(options.seed, subsequence_of(below.c_str()), 0);
    keys.emplace_back(uint64_t(numbers[0]) << 32 | numbers[1], i);
  }
  std::sort(keys.begin(), keys.end());
  size_t count = size_t(std::lround(fraction * double(paths.size())));
  if (fraction > 0 && fraction < 1 && paths.size() >= 2) count = std::clamp<size_t>(count, 1, paths.size() - 1);
  std::vector<size_t> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(keys[i].second);
  return chosen;
}

void warn_of_unusable(const ImageFolderOptions& options, const std::filesystem::path& path,
                      const std::vector<std::string>& reasons) {
  for (size_t i = 0; i < reasons.size() && i < kMostWarnings; ++i) warn(options, "warning: left out: " + reasons[i]);
  if (reasons.size() > kMostWarnings) {
    warn(options, fmt::format("warning: left out {} files of {} in all; the first {} are named above", reasons.size(),
                              path.string(), kMostWarnings));
  }
}

}  // namespace weft
