#pragma once
// Looks at a page as a person would: in Chromium, where there is one.

#include <filesystem>
#include <string>
#include <utility>

namespace weft::tests {

/// The browser's path, or "".
std::filesystem::path browser();

/// The page in a frame `width` pixels wide, after it has loaded: "pictures P broken B at W fits" and behind it what the
/// JavaScript `expression` comes to; and the console's lines.
std::pair<std::string, std::string> looked_at(const std::string& page, int width, const std::string& expression = "''");

}  // namespace weft::tests
