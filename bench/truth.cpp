#include "bench/truth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "bench/cases.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace weft::bench {
namespace {

/// `wanted` of [0, count): the first, the last, and one of each stretch between, at random.
std::vector<std::int64_t> spread(std::int64_t count, std::int64_t wanted) {
  std::vector<std::int64_t> indices;
  Philox random(11, static_cast<std::uint64_t>(count));
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int64_t from = i * count / wanted, to = (i + 1) * count / wanted;
    indices.push_back(from + random.below(static_cast<std::uint32_t>(to - from)));
  }
  indices.front() = 0;
  indices.back() = count - 1;
  return indices;
}

std::vector<std::int64_t> all(std::int64_t count) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

/// The larger; a NaN is larger than any number.
double worse(double a, double b) {
  return std::isnan(a) || b <= a ? a : b;
}

/// Below this much work an extent is not cut further, so that a part has an inside as well as edges.
constexpr std::int64_t kFewest = 4;
/// Copies of single rows, up to so many; beyond, the whole operand is fetched in one.
constexpr std::size_t kMostCopies = 2048;

}  // namespace

std::vector<std::string> independent_extents(const std::string& op) {
  static const std::map<std::string, std::vector<std::string>> extents = {
      {"gemm", {"M", "N"}},
      {"im2col", {"N"}},
      {"col2im", {"N"}},
      {"conv2d", {"N", "K"}},
      {"conv2d_backward_data", {"N", "C"}},
      {"conv2d_backward_filter", {"K", "C"}},
      {"conv2d_statistics", {"K"}},
      {"bias_add", {"rows"}},
      {"bias_backward", {"C"}},
      {"relu_bias_backward", {"C"}},
      {"relu", {"n"}},
      {"relu_backward", {"n"}},
      {"add", {"n"}},
      {"max_pool", {"N", "C"}},
      {"max_pool_backward", {"N", "C"}},
      {"max_pool_unindexed", {"N", "C"}},
      {"max_pool_unindexed_backward", {"N", "C"}},
      {"avg_pool", {"N", "C"}},
      {"avg_pool_backward", {"N", "C"}},
      {"global_avg_pool", {"N", "C"}},
      {"global_avg_pool_backward", {"N", "C"}},
      {"batch_norm_train", {"C"}},
      {"batch_norm_eval", {"C"}},
      {"batch_norm_train_backward", {"C"}},
      {"batch_norm_eval_backward", {"C"}},
      {"batch_norm_train_gathered", {"C"}},
      {"batch_norm_fold", {"K"}},
      {"softmax", {"rows"}},
      {"log_softmax", {"rows"}},
      {"softmax_backward", {"rows"}},
      {"log_softmax_backward", {"rows"}},
      {"concat", {"rows"}},
      {"concat_backward", {"rows"}},
      {"fill", {"n"}},
      {"scale", {"n"}},
      {"cast", {"n"}},
      {"normalize_pixels", {"rows"}},
      {"sgd_step", {"n"}},
  };
  const auto found = extents.find(op);
  return found == extents.end() ? std::vector<std::string>{} : found->second;
}

std::string checked_whole(const std::string& op) {
  constexpr const char* kMean = "a mean over all rows: of fewer each would weigh more";
  constexpr const char* kNumbered = "whether an element is kept goes by its place in the whole";
  static const std::map<std::string, std::string> reasons = {
      {"cross_entropy", kMean},
      {"cross_entropy_backward", kMean},
      {"cross_entropy_forward_backward", kMean},
      {"cross_entropy_soft", kMean},
      {"cross_entropy_soft_backward", kMean},
      {"binary_cross_entropy", kMean},
      {"binary_cross_entropy_backward", kMean},
      {"dropout", kNumbered},
      {"dropout_backward", kNumbered},
      {"sum", "one number of all"},
  };
  const auto found = reasons.find(op);
  return found == reasons.end() ? std::string{} : found->second;
}

Truth::Truth(const Call& call, double budget) : call_(call), part_(call.problem()), part_signature_(call.signature()) {
  for (int i = 0; i < part_signature_.count; ++i)
    for (int axis = 0; axis < part_signature_.operands[i].rank; ++axis)
      picks_[i].axis[axis] = all(part_signature_.operands[i].dims[axis]);
  const Op& op = call.op();
  const auto work = [&](const Problem& p) { return op.flops(p) + op.bytes(p); };
  const int groups = find_extent(op, "groups");
  const int splits = find_extent(op, "splits");
  for (const std::string& name : independent_extents(op.name)) {
    if (work(part_) <= budget) break;
    // A parameter among fewer would belong to another group.
    if (splits >= 0 && part_.extents[splits] > 0) break;
    std::vector<int> together = {find_extent(op, name.c_str())};
    if (groups >= 0 && part_.extents[groups] > 1 && name != "N") {
      // Some of the filters would belong to other groups among fewer, unless each has a group and a channel of its own.
      together = {find_extent(op, "C"), find_extent(op, "K"), groups};
      if (std::ranges::any_of(together, [&](int e) { return part_.extents[e] != part_.extents[groups]; })) continue;
    }
    cut(together, budget);
  }
  share_ = work(part_) / work(call.problem());

  std::vector<test::Values> values(static_cast<std::size_t>(part_signature_.count));
  for (int i = 0; i < part_signature_.count; ++i) {
    const Operand& operand = part_signature_.operands[i];
    if (!operand.present) continue;
    if (operand.role == Role::output)
      values[static_cast<std::size_t>(i)].assign(test::element_count(operand),
                                                 std::numeric_limits<double>::quiet_NaN());
    else
      values[static_cast<std::size_t>(i)] = test::decode(operand.dtype, gather(i));
  }
  truth_ = test::evaluate(op, part_, values);
}

bool Truth::cut(const std::vector<int>& extents, double budget) {
  const Op& op = call_.op();
  const std::int64_t before = part_.extents[extents.front()];
  const double work = op.flops(part_) + op.bytes(part_);
  const auto after = std::max(kFewest, static_cast<std::int64_t>(static_cast<double>(before) * budget / work));
  if (after >= before) return false;
  Problem smaller = part_;
  for (const int extent : extents) smaller.extents[extent] = after;
  const Signature cut_signature = op.signature(smaller);
  // Each operand has the extents along one axis at most, as it is or times a number (im2col's rows are N P Q).
  int axes[kMaxOperands];
  for (int i = 0; i < part_signature_.count; ++i) {
    const Operand &old = part_signature_.operands[i], &now = cut_signature.operands[i];
    axes[i] = -1;
    for (int axis = 0; axis < old.rank; ++axis) {
      if (old.dims[axis] == now.dims[axis]) continue;
      if (axes[i] >= 0 || old.dims[axis] % before != 0 || old.dims[axis] / before * after != now.dims[axis])
        return false;
      axes[i] = axis;
    }
  }
  const std::vector<std::int64_t> chosen = spread(before, after);
  for (int i = 0; i < part_signature_.count; ++i) {
    if (axes[i] < 0) continue;
    const std::int64_t block = part_signature_.operands[i].dims[axes[i]] / before;
    std::vector<std::int64_t>& indices = picks_[i].axis[axes[i]];
    indices.clear();
    for (const std::int64_t index : chosen)
      for (std::int64_t j = 0; j < block; ++j) indices.push_back(index * block + j);
    picks_[i].whole = false;
  }
  part_ = smaller;
  part_signature_ = cut_signature;
  return true;
}

test::Bytes Truth::gather(int which) const {
  const Operand& operand = call_.signature().operands[which];
  const Place& place = call_.place();
  const auto* source = static_cast<const std::byte*>(call_.operands(0)[which]);
  const Pick& pick = picks_[which];
  const std::size_t width = test::bytes_of(operand.dtype);
  if (pick.whole || operand.rank == 0) {
    test::Bytes bytes(operand_bytes(operand));
    place.target->copy_out(place.index, bytes.data(), source, bytes.size());
    return bytes;
  }
  // Rows of the first axis come over one by one where they are few, else all at once; the rest is picked here.
  std::int64_t row = 1;
  for (int axis = 1; axis < operand.rank; ++axis) row *= operand.dims[axis];
  const std::size_t row_bytes = static_cast<std::size_t>(row) * width;
  const bool one_by_one = pick.axis[0].size() <= kMostCopies;
  test::Bytes fetched(one_by_one ? pick.axis[0].size() * row_bytes : operand_bytes(operand));
  if (one_by_one) {
    for (std::size_t i = 0; i < pick.axis[0].size(); ++i)
      place.target->copy_out(place.index, &fetched[i * row_bytes],
                             source + static_cast<std::size_t>(pick.axis[0][i]) * row_bytes, row_bytes);
  } else {
    place.target->copy_out(place.index, fetched.data(), source, fetched.size());
  }
  std::vector<std::int64_t> offsets = {0};  // of the elements of a row, in elements
  std::int64_t stride = row;
  for (int axis = 1; axis < operand.rank; ++axis) {
    stride /= operand.dims[axis];
    std::vector<std::int64_t> finer;
    for (const std::int64_t offset : offsets)
      for (const std::int64_t index : pick.axis[axis]) finer.push_back(offset + index * stride);
    offsets = std::move(finer);
  }
  test::Bytes bytes(pick.axis[0].size() * offsets.size() * width);
  std::size_t at = 0;
  for (std::size_t i = 0; i < pick.axis[0].size(); ++i) {
    const std::size_t from = (one_by_one ? i : static_cast<std::size_t>(pick.axis[0][i])) * row_bytes;
    for (const std::int64_t offset : offsets) {
      std::memcpy(&bytes[at], &fetched[from + static_cast<std::size_t>(offset) * width], width);
      at += width;
    }
  }
  return bytes;
}

bool Truth::holds_nan(int which) const {
  // The catalogue's own sum over the whole output: one NaN among its terms makes it NaN.
  const Operand& operand = call_.signature().operands[which];
  const Place& place = call_.place();
  const Op* sum = test::find_op(place.target->catalogue(), "sum");
  if (sum == nullptr || !test::is_float(operand.dtype)) return false;
  Problem problem;
  problem.extents[0] = static_cast<std::int64_t>(test::element_count(operand));
  problem.dtype = operand.dtype;
  const int rung = pick_rung(*sum, problem, place.capability);
  if (rung < 0) return false;
  const Rung& chosen = sum->rungs[static_cast<std::size_t>(rung)];
  const Memory workspace(place, static_cast<std::size_t>(chosen.workspace_bytes ? chosen.workspace_bytes(problem) : 0));
  const Memory result(place, 8);
  void* operands[] = {call_.operands(0)[which], result.data()};
  chosen.launch(problem, operands, workspace.data(), nullptr);
  place.target->synchronize(place.index);
  test::Bytes bytes(test::bytes_of(operand.dtype));
  place.target->copy_out(place.index, bytes.data(), result.data(), bytes.size());
  return std::isnan(test::decode(operand.dtype, bytes)[0]);
}

Deviation Truth::judge(double slack, const std::vector<std::string>& unwritten) const {
  const Op& op = call_.op();
  Deviation error;
  const double terms = op.bound.terms ? static_cast<double>(op.bound.terms(part_)) : 1.0;
  for (int i = 0; i < part_signature_.count; ++i) {
    const Operand& operand = part_signature_.operands[i];
    if (!operand.present || operand.role == Role::input || std::ranges::count(unwritten, operand.name)) continue;
    const auto at = static_cast<std::size_t>(i);
    const test::Values got = test::decode(operand.dtype, gather(i));
    double difference = 0, size = 0;
    const double unit = test::unit_of(op, part_, operand);
    for (std::size_t j = 0; j < got.size(); ++j) {
      const double exact = truth_.operands[at][j];
      if (std::isinf(exact) && exact == got[j]) continue;
      const double off = got[j] - exact;
      difference += off * off;
      size += exact * exact;
      const double allowed = slack * op.bound.c * unit * std::sqrt(terms) * truth_.magnitudes[at][j];
      const double share = off == 0 ? 0 : allowed > 0 ? std::fabs(off) / allowed : INFINITY;
      error.bound = worse(error.bound, share);
      if (!(share <= 1) && error.wrong.size() < 3)
        error.wrong.push_back(
            fmt::format("{}: {:.9g} should be {:.9g} within {:.3g}", operand.name, got[j], exact, allowed));
    }
    error.norm = worse(error.norm, size > 0 ? std::sqrt(difference / size) : std::sqrt(difference));
    if (holds_nan(i)) error.wrong.push_back(fmt::format("{}: some element is NaN, or was never written", operand.name));
  }
  return error;
}

}  // namespace weft::bench
