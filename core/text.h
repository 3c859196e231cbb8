#pragma once
// Numbers and tables as people read them.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// "512 B", "1.5 KiB", "312.4 MiB", "2.10 GiB".
std::string bytes_text(std::size_t bytes);
/// "950", "1.23 k", "25.6 M", "4.09 G": for parameters and operations.
std::string count_text(double count);
/// Rows under a header line, columns padded to their widest cell; the first column is set to the left, the others as
/// `left` says.
std::string table_text(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& left);
/// Up to `most` of `names` that look like `name`, nearest first (edit distance, at most half of the name).
std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& names, std::size_t most);

}  // namespace weft
