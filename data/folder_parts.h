#pragma once
// Inside data/ only: what reading class folders and reading a list of labels share.

#include <filesystem>
#include <string>
#include <vector>

#include "data/image_folder.h"

namespace weft {

/// Throws Error for a size below 1, or a fraction outside 0 to 1.
void check_options(const ImageFolderOptions& options);

/// Which of `paths` a fraction of `options.valid_fraction`, rounded, takes for validation: those whose Philox numbers,
/// keyed by seed and path below `root`, are lowest. So the choice does not move when the folder does, and little when a
/// file is added. Strictly between 0 and 1 each part gets at least one.
std::vector<size_t> chosen_for_validation(const std::vector<std::string>& paths, const std::filesystem::path& root,
                                          const ImageFolderOptions& options);

/// A line for each of the first ten unusable files, and one with their number.
void warn_of_unusable(const ImageFolderOptions& options, const std::filesystem::path& path,
                      const std::vector<std::string>& reasons);

}  // namespace weft
