// The bytes that each rung of the memory-bound ladders moves, counted: the last rung's are the catalogue's minimum
// (Op::bytes) within 2%; and where a shape is too large for the chip, so that the last rung does not take it, those of
// the last that does are what its formula must move. kernels/simt/traffic/README.md says what counts as a byte.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/simt/traffic/counter.h"
#include "kernels/targets.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

constexpr double kTolerance = 0.02;

/// A call large enough that edges do not matter: ragged ends, and what is per row, channel or block.
struct TrafficCase {
  const char* op;
  Problem problem;
  /// As large as a real layer's: the last rung alone is run, and its sectors are counted in float32 too (a bfloat16's
  /// index beside it is two stores, 16 of every 32 bytes each).
  bool last_alone = false;
  const char* last = nullptr;  ///< the ladder's last rung by its name, where it is one of several in an op
};

constexpr int kF32 = static_cast<int>(DType::f32), kBf16 = static_cast<int>(DType::bf16),
              kU8 = static_cast<int>(DType::u8);
constexpr const char* kCluster = "depthwise-cluster";
constexpr TrafficCase kCases[] = {
    {"relu", {{100003}}},
    {"relu_backward", {{100003}}},
    {"add", {{100003}}},
    {"fill", {{100003}, {0.5}}},
    {"scale", {{100003}, {0.5}}},
    {"sum", {{100003}}},
    {"cast", {{100003, kF32, kBf16}}},
    {"cast", {{100003, kBf16, kF32}}},
    {"cast", {{100003, kU8, kF32}}},
    {"dropout", {{100003, 7, 1, 2}, {0.5}}},
    {"dropout_backward", {{100003, 7, 1, 2}, {0.5}}},
    {"sgd_step", {{100003, 1}, {0.9, 0.1, 1e-4}}},
    {"sgd_step", {{100003, 1, 2, 33333, 66665}, {0.9, 0.01, 1e-4, 0.03, 1e-4, 0.1, 1e-4}}},
    {"softmax", {{64, 1000}}},
    {"log_softmax", {{64, 1000}}},
    {"softmax_backward", {{64, 1000}}},
    {"log_softmax_backward", {{64, 1000}}},
    {"cross_entropy_forward_backward", {{64, 1000}}},
    // Few classes, dogs and cats above all: what is written for each row would be as much as the row.
    {"cross_entropy_forward_backward", {{4096, 2}}},
    {"cross_entropy_forward_backward", {{1024, 10}}},
    {"cross_entropy_forward_backward", {{512, 50}}},
    {"cross_entropy_forward_backward", {{64, 1025}}},
    {"cross_entropy_forward_backward", {{32, 2}}},  // one block has them all
    {"cross_entropy", {{32, 2}}},
    {"cross_entropy_soft", {{32, 2}}},
    {"binary_cross_entropy", {{40}}},
    {"cross_entropy", {{4096, 2}}},
    {"cross_entropy", {{1024, 10}}},
    {"cross_entropy", {{512, 50}}},
    {"cross_entropy_backward", {{4096, 2}}},
    {"cross_entropy_backward", {{1024, 10}}},
    {"cross_entropy_soft", {{4096, 2}}},
    {"cross_entropy_soft", {{1024, 10}}},
    {"cross_entropy_soft_backward", {{4096, 2}}},
    {"cross_entropy_soft_backward", {{1024, 10}}},
    {"softmax", {{4096, 2}}},
    {"softmax_backward", {{4096, 2}}},
    {"log_softmax", {{1024, 10}}},
    {"log_softmax_backward", {{1024, 10}}},
    {"binary_cross_entropy", {{8192}}},
    {"bias_add", {{2048, 64}}},
    {"bias_add", {{2048, 63}}},
    {"bias_backward", {{8192, 64}}},
    {"bias_backward", {{8192, 63}}},
    {"bias_backward", {{64, 1000}}},   // a head's
    {"bias_backward", {{6272, 256}}},  // 128 pictures of 7 x 7
    {"bias_backward", {{1024, 1001}}},
    {"bias_backward", {{5408, 256}}},
    {"relu_bias_backward", {{6272, 256}}},
    {"relu_bias_backward", {{1024, 1001}}},
    {"relu_bias_backward", {{8192, 64}}},
    {"relu_bias_backward", {{8192, 63}, {0.5}}},
    {"normalize_pixels", {{40000, 3}}},
    {"cross_entropy", {{64, 1000}}},
    {"cross_entropy_backward", {{64, 1000}}},
    {"batch_norm_train", {{1030, 64}, {1e-5, 0.1}}},
    {"batch_norm_train", {{1030, 64, 1, 1}, {1e-5, 0.1}}},
    {"batch_norm_train", {{1030, 63}, {1e-5, 0.1}}},  // no whole packs
    {"batch_norm_train_gathered", {{1030, 64}, {1e-5, 0.1}}},
    {"batch_norm_train_gathered", {{1030, 64, 1, 1}, {1e-5, 0.1}}},
    {"batch_norm_train_gathered", {{1030, 63, 1, 1}, {1e-5, 0.1}}},
    {"batch_norm_fold", {{4096, 1}, {1e-5}}},
    {"batch_norm_eval", {{1030, 64}, {1e-5}}},
    {"batch_norm_eval", {{1030, 64, 1, 1}, {1e-5}}},
    {"batch_norm_eval", {{1030, 63, 1, 1}, {1e-5}}},
    {"batch_norm_train_backward", {{1030, 64}, {1e-5, 0.1}}},
    {"batch_norm_train_backward", {{1030, 64, 0, 1}, {1e-5, 0.1}}},
    {"batch_norm_train_backward", {{1030, 64, 1, 1}, {1e-5, 0.1}}},
    {"batch_norm_train_backward", {{1030, 63}, {1e-5, 0.1}}},
    {"batch_norm_train_backward", {{1030, 63, 1, 1}, {1e-5, 0.1}}},
    {"batch_norm_eval_backward", {{1030, 64}, {1e-5, 0.1}}},
    {"batch_norm_eval_backward", {{1030, 64, 1, 1}, {1e-5, 0.1}}},
    {"batch_norm_eval_backward", {{1030, 63, 0, 1}, {1e-5, 0.1}}},
    // One picture of 7 x 7: what is per channel is written once.
    {"batch_norm_train_gathered", {{49, 512}, {1e-5, 0.1}}},
    {"batch_norm_eval_backward", {{49, 512, 0, 1}, {1e-5, 0.1}}},
    // resnet50's and mobilenet_v2's last: few rows, many channels.
    {"batch_norm_train", {{1568, 512, 0, 1}, {1e-5, 0.1}}, true},
    {"batch_norm_train_gathered", {{1568, 512, 1, 1}, {1e-5, 0.1}}, true},
    {"batch_norm_eval", {{1568, 512, 1, 1}, {1e-5}}, true},
    {"batch_norm_train_backward", {{1568, 512, 0, 1}, {1e-5, 0.1}}, true},
    {"batch_norm_eval_backward", {{1568, 512, 0, 1}, {1e-5, 0.1}}, true},
    {"cross_entropy_soft", {{64, 1000}}},
    {"cross_entropy_soft_backward", {{64, 1000}}},
    {"binary_cross_entropy", {{100003}}},
    {"binary_cross_entropy_backward", {{100003}}},
    {"concat", {{3000, 2, 24, 40}}},
    {"concat_backward", {{3000, 2, 24, 40}}},
    {"concat", {{3000, 3, 5, 17, 63}}},
    {"concat_backward", {{3000, 3, 5, 17, 63}}},
    {"max_pool", {{2, 28, 28, 64, 3, 3, 2, 2, 1, 1, 14, 14}}},
    {"max_pool", {{2, 27, 27, 63, 3, 3, 2, 2, 0, 0, 13, 13}}},  // no whole packs
    {"max_pool_backward", {{2, 28, 28, 64, 3, 3, 2, 2, 1, 1, 14, 14}}},
    {"max_pool_backward", {{2, 27, 27, 63, 3, 3, 2, 2, 0, 0, 13, 13}}},
    {"max_pool_unindexed_backward", {{2, 27, 27, 63, 3, 3, 2, 2, 0, 0, 13, 13}}},
    {"max_pool_unindexed", {{2, 28, 28, 64, 3, 3, 2, 2, 1, 1, 14, 14}}},
    {"max_pool_unindexed_backward", {{2, 14, 14, 64, 3, 3, 2, 2, 1, 1, 7, 7}}},
    {"max_pool_unindexed_backward", {{2, 12, 12, 64, 3, 3, 1, 1, 1, 1, 12, 12}}},
    {"avg_pool", {{2, 28, 28, 64, 3, 3, 2, 2, 1, 1, 14, 14}}},
    {"avg_pool_backward", {{2, 28, 28, 64, 3, 3, 2, 2, 1, 1, 14, 14}}},
    {"avg_pool_backward", {{2, 27, 27, 63, 3, 3, 2, 2, 0, 0, 13, 13}}},
    // Strides over the window, in both axes and in one: pixels that no window holds are not read.
    {"max_pool", {{2, 27, 29, 64, 2, 2, 3, 4, 0, 0, 9, 7}}},
    {"max_pool_backward", {{2, 27, 29, 64, 2, 2, 3, 4, 0, 0, 9, 7}}},
    {"max_pool_unindexed", {{2, 27, 29, 64, 2, 2, 3, 4, 0, 0, 9, 7}}},
    {"max_pool_unindexed_backward", {{2, 27, 29, 64, 2, 2, 3, 4, 0, 0, 9, 7}}},
    {"avg_pool", {{2, 27, 29, 64, 2, 2, 3, 4, 0, 0, 9, 7}}},
    {"avg_pool_backward", {{2, 27, 29, 64, 2, 2, 3, 4, 0, 0, 9, 7}}},
    {"max_pool", {{2, 27, 29, 64, 3, 1, 2, 3, 1, 0, 14, 10}}},
    {"max_pool_unindexed_backward", {{2, 27, 29, 64, 3, 1, 2, 3, 1, 0, 14, 10}}},
    {"avg_pool", {{2, 27, 29, 63, 3, 1, 2, 3, 1, 0, 14, 10}}},
    {"avg_pool", {{2, 28, 28, 64, 3, 3, 2, 2, 0, 0, 13, 13}}},  // a last row and column in no window
    // Pictures much larger than shared memory.
    {"max_pool", {{1, 112, 112, 64, 3, 3, 2, 2, 1, 1, 56, 56}}, true},
    {"max_pool_backward", {{1, 112, 112, 16, 3, 3, 2, 2, 1, 1, 56, 56}}, true},
    {"max_pool_backward", {{1, 56, 56, 64, 3, 3, 1, 1, 1, 1, 56, 56}}, true},
    {"max_pool_unindexed", {{1, 56, 56, 64, 3, 3, 1, 1, 1, 1, 56, 56}}, true},
    {"max_pool_unindexed_backward", {{1, 112, 112, 16, 3, 3, 2, 2, 1, 1, 56, 56}}, true},
    {"max_pool_unindexed_backward", {{1, 56, 56, 32, 3, 3, 1, 1, 1, 1, 56, 56}}, true},
    {"avg_pool", {{1, 112, 112, 16, 3, 3, 2, 2, 1, 1, 56, 56}}, true},
    {"avg_pool", {{1, 56, 56, 64, 5, 5, 1, 1, 2, 2, 56, 56}}, true},
    {"avg_pool_backward", {{1, 112, 112, 16, 3, 3, 2, 2, 1, 1, 56, 56}}, true},
    {"avg_pool_backward", {{1, 56, 56, 64, 3, 3, 1, 1, 1, 1, 56, 56}}, true},
    // The convolutions that are bound by memory: groups of one channel.
    {"conv2d", {{1, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64, 1, 1, 1, 1}}, true, kCluster},
    {"conv2d", {{1, 112, 112, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16}}, true, kCluster},
    {"conv2d_backward_data", {{1, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64}}, true, kCluster},
    {"conv2d_backward_data", {{1, 112, 112, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16}}, true, kCluster},
    {"conv2d_backward_filter", {{2, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64}}, true, kCluster},
    {"conv2d_backward_filter", {{1, 112, 112, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16}}, true, kCluster},
    // mobilenet_v2's last: of small pictures each block's filters, or sums, would be a tenth or more of what is read.
    {"conv2d", {{32, 7, 7, 960, 960, 3, 3, 1, 1, 1, 1, 1, 1, 960, 1, 1, 0, 1}}, true, kCluster},
    {"conv2d", {{3, 7, 7, 960, 960, 3, 3, 1, 1, 1, 1, 1, 1, 960, 1, 1, 0, 1}}, true, kCluster},
    {"conv2d_backward_data", {{32, 7, 7, 960, 960, 3, 3, 1, 1, 1, 1, 1, 1, 960}}, true, kCluster},
    {"conv2d_backward_filter", {{32, 7, 7, 960, 960, 3, 3, 1, 1, 1, 1, 1, 1, 960}}, true, kCluster},
    {"conv2d_backward_filter", {{24, 28, 28, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16}}, true, kCluster},  // three clusters
    // Strides over the filter, and a dilation with a stride: every second row and column is under no tap.
    {"conv2d", {{2, 27, 29, 64, 64, 2, 2, 3, 4, 0, 0, 1, 1, 64}}, true, kCluster},
    {"conv2d", {{2, 28, 28, 64, 64, 3, 3, 2, 2, 2, 2, 2, 2, 64}}, true, kCluster},
    {"conv2d_backward_data", {{2, 27, 29, 64, 64, 2, 2, 3, 4, 0, 0, 1, 1, 64}}, true, kCluster},
    {"conv2d_backward_filter", {{2, 27, 29, 64, 64, 2, 2, 3, 4, 0, 0, 1, 1, 64}}, true, kCluster},
    {"conv2d_backward_filter", {{8, 28, 28, 64, 64, 3, 3, 2, 2, 2, 2, 2, 2, 64}}, true, kCluster},
    {"global_avg_pool", {{4, 14, 14, 64}}},
    {"global_avg_pool", {{4, 13, 13, 63}}},
    {"global_avg_pool", {{16, 7, 7, 512}}},
    {"global_avg_pool_backward", {{4, 14, 14, 64}}},
    {"global_avg_pool_backward", {{4, 13, 13, 63}}},
    {"global_avg_pool_backward", {{16, 7, 7, 512}}},
};

/// A call that the ladder's last rung does not take, for it keeps on the chip what here has no place there. An earlier
/// one may have place for it, or do without: a row too long for registers lies in shared memory. Else whatever waits
/// for a sum over a row (or a channel) is read again once the sum is known: what the last rung that runs must move is
/// the minimum, and these tensors of (rows, C) once more.
struct LargeCase {
  const char* op;
  Problem problem;
  const char* rung;        ///< the last that takes it
  int again;               ///< tensors of the op's type that are read twice
  int again_float;         ///< float32 ones, whatever the op's type
  const char* read_twice;  ///< which, and for what
};

// A row of 20011 is longer than what a team holds in registers, and one of 131009 than shared memory. A cluster's keeps
// 106,000 rows of 16 bytes, or 53,000 of two tensors.
constexpr LargeCase kLargeCases[] = {
    {"softmax", {{3, 20011}}, "shared-resident", 0, 0, "nothing: the row lies in shared memory meanwhile"},
    {"log_softmax", {{3, 20011}}, "shared-resident", 0, 0, "nothing: the row lies in shared memory meanwhile"},
    {"softmax", {{2, 131009}}, "vectorised", 1, 0, "x, for maximum and sum, and for y"},
    {"log_softmax", {{2, 131009}}, "vectorised", 1, 0, "x, for maximum and sum, and for y"},
    {"softmax_backward", {{3, 20011}}, "shared-resident", 0, 0, "nothing: dy and y lie in shared memory meanwhile"},
    {"log_softmax_backward", {{3, 20011}}, "shared-resident", 0, 0, "nothing: dy lies there, and y waits for the sum"},
    {"cross_entropy_forward_backward", {{3, 20011}}, "shared-resident", 0, 0, "nothing: the logits lie there"},
    {"cross_entropy_soft", {{3, 20011}}, "online", 0, 0, "nothing: maximum, sum and loss are gathered together"},
    {"cross_entropy_soft_backward", {{3, 20011}}, "shared-resident", 0, 0, "nothing: the targets lie there"},
    {"softmax_backward", {{2, 131009}}, "vectorised", 2, 0, "dy and y, for the sum of their products, and for dx"},
    {"log_softmax_backward", {{2, 131009}}, "vectorised", 1, 0, "dy, for its sum, and for dx; y for dx alone"},
    {"cross_entropy_forward_backward", {{2, 131009}}, "vectorised", 1, 0, "logits, for the loss, and for dlogits"},
    {"cross_entropy_soft", {{2, 131009}}, "online", 0, 0, "nothing: maximum, sum and loss are gathered together"},
    {"cross_entropy_soft_backward", {{2, 131009}}, "warp-per-row", 0, 1, "targets, for their sum, and for dlogits"},
    {"batch_norm_train", {{110000, 8}, {1e-5, 0.1}}, "vectorised", 1, 0, "x, for its statistics, and for y"},
    {"batch_norm_train", {{110000, 8, 1, 1}, {1e-5, 0.1}}, "vectorised", 1, 0, "x; the residual for y alone"},
    {"batch_norm_train_backward", {{56000, 8}, {1e-5, 0.1}}, "vectorised", 2, 0, "dy and x, for the sums, and for dx"},
    {"batch_norm_train_backward",
     {{56000, 8, 0, 1}, {1e-5, 0.1}},
     "vectorised",
     3,
     0,
     "dy, y, which is the mask, and x, for the sums, and for dx"},
    {"batch_norm_train_backward",
     {{56000, 8, 1, 1}, {1e-5, 0.1}},
     "vectorised",
     2,
     0,
     "x, and dresidual, which is dy behind the mask, in place of dy and y"},
};

/// Ops bound by memory that have no case, and why.
struct Exception {
  const char* op;
  const char* why;
};
constexpr Exception kExceptions[] = {
    {"im2col", "an element of x is wanted by R S windows: the minimum counts one read, the others are a cache's"},
    {"col2im", "as im2col"},
};

struct Counted {
  double bytes = 0, sector_bytes = 0;
  std::string by_operand;
};

/// Runs the rung with its operands and its workspace watched.
Counted count(const Op& op, const Rung& rung, const Problem& problem) {
  const Signature signature = op.signature(problem);
  const std::vector<Values> values = draw_operands(simt::target().catalogue(), op, problem, Draw::random, true);
  constexpr std::size_t kAlign = 128;
  std::vector<Bytes> buffers;
  std::vector<simt::WatchedRange> ranges;
  std::vector<std::string> names;
  void* pointers[kMaxOperands] = {};
  const auto place = [&](const char* name, const Bytes& contents) {
    Bytes& buffer = buffers.emplace_back(contents.size() + kAlign);
    const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(buffer.data()) % kAlign;
    std::byte* const begin = buffer.data() + (kAlign - misaligned) % kAlign;
    std::copy(contents.begin(), contents.end(), begin);
    ranges.push_back({begin, contents.size()});
    names.emplace_back(name);
    return static_cast<void*>(begin);
  };
  for (int i = 0; i < signature.count; ++i)
    if (signature.operands[i].present)
      pointers[i] = place(signature.operands[i].name, encode(signature.operands[i].dtype, values[i]));
  const std::int64_t workspace_bytes = rung.workspace_bytes ? rung.workspace_bytes(problem) : 0;
  void* const workspace = workspace_bytes > 0 ? place("workspace", Bytes(workspace_bytes)) : nullptr;

  simt::TrafficWatch watch(ranges);
  rung.launch(problem, pointers, workspace, nullptr);
  const simt::TrafficByPlace traffic = watch.stop();

  Counted counted;
  std::vector<simt::Traffic> loads(ranges.size()), stores(ranges.size());
  for (const auto& [where, moved] : traffic) (where.store ? stores : loads)[where.range] += moved;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    counted.bytes += static_cast<double>(loads[i].bytes + stores[i].bytes);
    counted.sector_bytes += 32.0 * static_cast<double>(loads[i].sectors + stores[i].sectors);
    if (loads[i].bytes > 0) counted.by_operand += fmt::format("  {} {}", names[i], loads[i].bytes);
    if (stores[i].bytes > 0) counted.by_operand += fmt::format("  ->{} {}", names[i], stores[i].bytes);
  }
  return counted;
}

/// Counts the rung and prints it. Where `judged`, it moves `must_move` bytes within 2%.
Counted count_and_judge(const Op& op, const Rung& rung, const Problem& problem, double must_move, bool judged) {
  const Counted counted = count(op, rung, problem);
  const double ratio = counted.bytes / must_move;
  fmt::print("{:<31}{:<22}{:<5}{:>11.0f}{:>9.3f}{:>9.3f}{}\n", op.name, rung.name, name_of(problem.dtype), must_move,
             ratio, counted.sector_bytes / must_move, counted.by_operand);
  char text[256];
  CHECK_MESSAGE((!judged || std::fabs(ratio - 1) <= kTolerance), std::string(op.name), "/", std::string(rung.name), " ",
                std::string(name_of(problem.dtype)), " ", std::string(describe(op, problem, text, sizeof text)),
                " moves ", counted.bytes, " bytes, and ", must_move, " would do");
  return counted;
}

/// Calls run(op, case, problem) for each case whose op is selected, in both types.
template <class Case, class Run>
void for_cases(std::span<const Case> cases, const char* bytes, const Run& run) {
  fmt::print("{:<31}{:<22}{:<5}{:>11}{:>9}{:>9}  loaded, ->stored\n", "op", "rung", "type", bytes, "bytes", "sectors");
  for (const Case& test : cases) {
    const Op* op = find_op(simt::target().catalogue(), test.op);
    REQUIRE_MESSAGE(op != nullptr, std::string(test.op), " is not in the catalogue");
    if (!op_selected(test.op)) continue;
    for (const DType type : {DType::f32, DType::bf16}) {
      Problem problem = test.problem;
      problem.dtype = type;
      run(*op, test, problem);
    }
  }
}

TEST_CASE("traffic: the last rung of each memory-bound ladder moves the fewest bytes, within 2%") {
  for_cases<TrafficCase>(kCases, "minimum", [](const Op& op, const TrafficCase& test, const Problem& problem) {
    if (problem.dtype == DType::bf16 && std::strcmp(test.op, "cast") == 0) return;  // names its types itself
    const double minimum = op.bytes(problem);
    for (const Rung& rung : op.rungs) {
      const bool last = test.last == nullptr ? &rung == &op.rungs.back() : std::string(rung.name) == test.last;
      if (test.last_alone ? !last : !can_run(rung, problem, 0)) continue;
      REQUIRE(can_run(rung, problem, 0));
      const Counted counted = count_and_judge(op, rung, problem, minimum, last);
      if (test.last_alone && problem.dtype == DType::f32)
        CHECK(std::fabs(counted.sector_bytes / minimum - 1) <= kTolerance);
    }
  });
}

TEST_CASE("traffic: what the chip cannot hold is read again, and nothing else") {
  for_cases<LargeCase>(kLargeCases, "must move", [](const Op& op, const LargeCase& test, const Problem& problem) {
    CHECK(!can_run(op.rungs.back(), problem, 0));  // else the case belongs to the table above
    const Rung* last = nullptr;
    for (const Rung& rung : op.rungs)
      if (can_run(rung, problem, 0)) last = &rung;
    REQUIRE(last != nullptr);
    CHECK(std::string(last->name) == test.rung);
    const double elements = static_cast<double>(problem.extents[0]) * static_cast<double>(problem.extents[1]);
    const double width = problem.dtype == DType::bf16 ? 2 : 4, minimum = op.bytes(problem);
    const double parts = last->workspace_bytes ? 2 * static_cast<double>(last->workspace_bytes(problem)) : 0;
    CHECK(parts <= kTolerance * minimum);
    INFO("read twice: ", std::string(test.read_twice));
    count_and_judge(op, *last, problem, minimum + parts + (test.again * width + test.again_float * 4) * elements, true);
  });
}

TEST_CASE("traffic: every op that is bound by memory has a case, or a reason to have none") {
  std::set<std::string> known;
  for (const TrafficCase& test : kCases) known.insert(test.op);
  for (const Exception& exception : kExceptions) known.insert(exception.op);
  constexpr double kFlopsPerByte = 8;  // a GPU has an order of magnitude more to offer for each
  for (const Op* op : simt::target().catalogue()) {
    const bool bound = std::all_of(op->problems.begin(), op->problems.end(), [&](const Problem& problem) {
      return op->flops(problem) <= kFlopsPerByte * op->bytes(problem);
    });
    CHECK_MESSAGE((!bound || known.count(op->name) == 1), std::string(op->name),
                  " moves more than it computes, and has no case in this file");
  }
}

}  // namespace
}  // namespace weft::test
