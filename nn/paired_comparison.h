#pragma once
// Two models on the same pictures, picture by picture: which of one's mistakes the other mends, which it makes anew,
// and how often as much would come about by chance.

#include <cstdint>
#include <string>
#include <vector>

#include "nn/predictions.h"

namespace weft {

struct PairedComparison {
  std::int64_t pictures = 0, right_a = 0, right_b = 0, right_in_both = 0;
  std::vector<std::string> mended;  ///< A is wrong and B right: paths as B has them, in B's order
  std::vector<std::string> broken;  ///< A is right and B wrong, likewise
  double p = 1;                     ///< sign_test(mended, broken)
};

/// A picture is right where its most probable class is its own; with several labels a picture, where all its labels are
/// right at each one's own threshold. Pictures are the same where their paths below the deepest folder that holds all
/// of a run's pictures are: "valid/cats/1.jpg" and "/data/valid/cats/1.jpg". `name_a` and `name_b` are what errors
/// call the two. Throws Error: other classes, other pictures, another truth of one, one whose truth is not known, none.
PairedComparison compare(const Predictions& a, const Predictions& b, const std::string& name_a,
                         const std::string& name_b);

/// Two-sided p of the exact sign test: of n = `mended` + `broken` tosses of a fair coin, how probable it is that sides
/// fall at least as unevenly: min(1, 2 sum_{i <= min(mended, broken)} C(n, i) / 2^n); 1 for n = 0. On pairs of
/// predictions this is McNemar's test in its exact form: McNemar, "Note on the sampling error of the difference between
/// correlated proportions or percentages", Psychometrika, 1947; for classifiers Dietterich, "Approximate Statistical
/// Tests for Comparing Supervised Classification Learning Algorithms", 1998.
double sign_test(std::int64_t mended, std::int64_t broken);

}  // namespace weft
