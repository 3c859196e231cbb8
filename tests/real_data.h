#pragma once
// Photos, digits and weights, which are not part of the source: the environment's WEFT_DATA names their folder.

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace weft::test {

/// The folder below WEFT_DATA, or "" with a message that the test is skipped.
inline std::string real_data(const std::string& name) {
  const char* root = std::getenv("WEFT_DATA");
  std::string path = root ? std::string(root) + "/" + name : "";
  if (!path.empty() && std::filesystem::is_directory(path)) return path;
  MESSAGE("skipped: WEFT_DATA names no folder with " << name << "/");
  return "";
}

}  // namespace weft::test
