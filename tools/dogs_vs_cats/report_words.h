#pragma once
// What was run, in words: the first paragraph of a report.

#include <string>
#include <vector>

#include "tools/dogs_vs_cats/report_page.h"

namespace weft::cli {

/// "a", "a and b", "a, b and c".
std::string joined(const std::vector<std::string>& words);

/// What learned, from what, in which stages at which rates, what else differed from the defaults of `train`, and how
/// well it does: a few sentences, as plain text. Throws Error for options in config.json that are none.
std::string in_words(const ReportData& data);

}  // namespace weft::cli
