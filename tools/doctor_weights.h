#pragma once
// weft_doctor weights FILE.

#include <filesystem>

namespace weft {

/// Prints what a file of weights holds and which architectures it fits or, where none, what differs from the nearest.
/// 0 where it fits one, 1 where not. Throws Error, one line, for what is no sound file of weights.
int examine_weights(const std::filesystem::path& path);

}  // namespace weft
