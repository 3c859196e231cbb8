#pragma once
// What a call should have computed, in double precision, for a part of it that is quick to compute and reaches to every
// edge: some rows of a product, some channels of a picture. A whole 8192^3 product takes the reference a quarter of an
// hour; some of its rows and columns say as much about a kernel.

#include <string>
#include <vector>

#include "bench/call.h"
#include "tests/kernels/harness.h"

namespace weft::bench {

/// How far a result is from the truth.
struct Deviation {
  double norm = 0;   ///< ||got - exact|| / ||exact||, the worst of the outputs
  double bound = 0;  ///< the largest |got - exact| over Op::bound; above 1: beyond it. NaN where a value was NaN
  std::vector<std::string> wrong;  ///< a line each for the first elements beyond the bound
  bool passes() const { return wrong.empty() && bound <= 1; }
};

/// The truth of set 0 of a call, worked out once and held against any number of results.
class Truth {
 public:
  /// Reads the inputs of set 0 back, in-outs as they are now. `budget`: floating-point operations that the reference
  /// may take, about.
  explicit Truth(const Call& call, double budget = 5e7);

  /// Looks at the outputs that lie in set 0 now: those of the part against the reference, all for a NaN. `slack` times
  /// the catalogue's bound is allowed (1 for a rung); outputs named in `unwritten` are passed over.
  Deviation judge(double slack = 1, const std::vector<std::string>& unwritten = {}) const;
  /// Of the whole call, the share of the operations that is checked.
  double share() const { return share_; }
  const Problem& part() const { return part_; }

 private:
  /// Which elements of an operand belong to the part: along each axis, the indices.
  struct Pick {
    std::vector<std::int64_t> axis[kMaxRank];
    bool whole = true;
  };
  /// Leaves out some of each of these extents, which are equal; false where that cannot be.
  bool cut(const std::vector<int>& extents, double budget);
  test::Bytes gather(int operand) const;
  bool holds_nan(int operand) const;

  const Call& call_;
  Problem part_;
  Signature part_signature_;
  Pick picks_[kMaxOperands];
  test::Truth truth_;
  double share_ = 1;
};

/// Names of the extents along which a call of this op falls into independent parts, in the order to cut them; empty: it
/// does not, or nobody has said so here. Of a convolution with groups N alone, but of a depthwise one channels, filters
/// and groups together.
std::vector<std::string> independent_extents(const std::string& op);
/// Why a call of this op is checked whole, however large it is; empty where it has independent extents, or nobody has
/// said. Of every op one of the two is told.
std::string checked_whole(const std::string& op);

}  // namespace weft::bench
