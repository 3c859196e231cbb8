#pragma once
// Files that are never half written.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace weft {

/// Writes beside (`path` + ".tmp.<pid>"), fsyncs, renames, fsyncs the folder. On failure the temporary is removed, the
/// former file is intact, and Error says the path and the system's reason.
void write_file_atomically(const std::filesystem::path& path, std::string_view contents);
/// The same for pieces written one after another.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::string_view> pieces);
/// Throws Error with the system's reason.
std::string read_file(const std::filesystem::path& path);

}  // namespace weft
