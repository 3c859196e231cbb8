#pragma once
// A run and its report, which several tests look at.

#include <filesystem>
#include <string>
#include <vector>

namespace weft::tests {

/// A run that gets some pictures right and some wrong: one epoch of a small net.
struct Reported {
  std::filesystem::path run;
  std::string page, searched;  ///< report.html; what lr-find said, whose table lies in the same folder
};

/// Trained and reported once, whoever asks first. Throws where a program failed.
const Reported& reported();

/// What the pictures of a page are, as they stand in it: "data:image/jpeg;base64,...".
std::vector<std::string> data_uris(const std::string& page);

}  // namespace weft::tests
