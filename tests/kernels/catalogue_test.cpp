// Every op x rung x shape x type of the catalogue against the double reference.
//
// A new rung or op is tested here without a line being added: its `problems` are the shapes, its `bound` is the judge.
// Add a shape to the op's problems where a new rung has an edge of its own. While at work on one op:
//   WEFT_OPS=softmax,relu weft_kernels_tests --test-case='catalogue*'
// For runs under compute-sanitizer: WEFT_LARGEST=2e5 leaves out larger calls, WEFT_NO_POISON=1 (harness_run.cpp) what a
// buffer is filled with beforehand. WEFT_MULTIPROCESSORS=2 and WEFT_PART_BYTES=131072 (kernels/limits.h) have small
// shapes come by a persistent block's second tile and a convolution's second part on a GPU too, as they do on simt.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/simt/machine.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

// The fewest rungs x shapes x types that a whole run on simt makes. Raise it when the catalogue has grown: it is here
// so that an op cannot fall out of the catalogue, or a shape out of an op, unseen.
constexpr int kFewestRuns = 7916;

constexpr std::uint64_t kScheduleSeeds[] = {0, 1, 2};
constexpr DType kTypes[] = {DType::f32, DType::bf16};

/// Words of a note by which a shape says that it is there for a loop which lesser shapes do not enter again.
constexpr const char* kLoops[] = {"tile", "parts", "slice", "steps of", "cluster", "blocks", "chunks", "strips"};

/// True where the call has at most `largest` operations and bytes together, or is there for a loop: under a sanitizer
/// all large ones would take minutes, and without these it would say nothing about those loops.
bool small_enough(const Op& op, const Problem& problem, double largest) {
  if (op.flops(problem) + op.bytes(problem) <= largest) return true;
  return problem.note != nullptr && std::ranges::any_of(kLoops, [&](const char* word) {
           return std::string_view(problem.note).find(word) != std::string_view::npos;
         });
}
/// WEFT_LARGEST, which is any size where it is not set.
double largest_call() {
  static const char* const largest = std::getenv("WEFT_LARGEST");
  return largest == nullptr ? std::numeric_limits<double>::infinity() : std::atof(largest);
}

struct Tally {
  int runs = 0;
  std::set<int> shapes;
  double seconds = 0;
  std::map<std::string, bool> output_seen;  ///< "rung type output": whether it was ever anything but 0
};

void note_outputs(const Rung& rung, const Problem& problem, const Signature& signature, const Outcome& outcome,
                  Tally& tally) {
  for (int i = 0; i < signature.count; ++i) {
    const Operand& operand = signature.operands[i];
    if (operand.role == Role::input || !operand.present) continue;
    bool& seen = tally.output_seen[fmt::format("{} {} {}", rung.name, name_of(problem.dtype), operand.name)];
    for (double value : decode(operand.dtype, outcome.operands[i])) seen |= value != 0;
  }
}

/// Orders the SIMT machine's threads by a seed, for a scope.
class ScheduleSeed {
 public:
  explicit ScheduleSeed(std::uint64_t seed) : before_(simt::schedule_seed()) { simt::set_schedule_seed(seed); }
  ScheduleSeed(const ScheduleSeed&) = delete;
  ScheduleSeed& operator=(const ScheduleSeed&) = delete;
  ~ScheduleSeed() { simt::set_schedule_seed(before_); }

 private:
  std::uint64_t before_;
};

/// One shape in one type, with the truth about it: computed once for all rungs.
struct Case {
  const Op& op;
  const Problem& problem;
  Signature signature;
  std::vector<Values> values, integers;
  Truth truth, truth_of_integers;

  Case(Catalogue catalogue, const Op& tested, const Problem& at)
      : op(tested),
        problem(at),
        signature(op.signature(at)),
        values(draw_operands(catalogue, op, at, Draw::random, true)),
        truth(evaluate(op, at, values)) {
    if (!op.exact_on_integers) return;
    integers = draw_operands(catalogue, op, at, Draw::integers, true);
    truth_of_integers = evaluate(op, at, integers);
  }
};

/// One rung on one case: against the truth, again, in other orders of execution, and on integers.
void test_run(const Device& device, const Rung& rung, const Case& test, Tally& tally) {
  const Op& op = test.op;
  const Problem& problem = test.problem;
  char text[256];
  const std::string where = fmt::format("{} / {} / {} {}", device.target.name, rung.name, name_of(problem.dtype),
                                        describe(op, problem, text, sizeof text));
  const auto report = [&](const char* mode, const std::vector<std::string>& lines) {
    for (const std::string& line : lines) FAIL_CHECK(where, " ", std::string(mode), ": ", line);
  };

  const Outcome first = run_rung(device, rung, problem, test.signature, test.values);
  report("random", first.complaints);
  report("random", compare(op, problem, test.signature, test.truth, first, false, rung.bound_factor));
  note_outputs(rung, problem, test.signature, first, tally);

  // The same bits on every run; and on simt in every order in which a block's threads may run between two barriers.
  const bool emulated = device.target.capability(device.index) == 0;
  for (const std::uint64_t seed : kScheduleSeeds) {
    if (emulated && seed == simt::schedule_seed()) continue;  // that was the first run
    if (!emulated && seed != kScheduleSeeds[0]) continue;     // a GPU has an order of its own each time
    const ScheduleSeed order(seed);
    const Outcome again = run_rung(device, rung, problem, test.signature, test.values);
    report("again", again.complaints);
    if (again.operands != first.operands) FAIL_CHECK(where, ": other bits under schedule seed ", seed);
  }

  if (op.exact_on_integers) {
    const Outcome outcome = run_rung(device, rung, problem, test.signature, test.integers);
    report("integers", outcome.complaints);
    report("integers", compare(op, problem, test.signature, test.truth_of_integers, outcome, true));
  }
}

void test_op(const Device& device, const Op& op, Tally& tally) {
  const auto start = std::chrono::steady_clock::now();
  const int capability = device.target.capability(device.index);
  for (std::size_t shape = 0; shape < op.problems.size(); ++shape) {
    for (const DType type : kTypes) {
      Problem problem = op.problems[shape];
      problem.dtype = type;
      std::optional<Case> test;  // made where a rung takes it
      for (const Rung& rung : op.rungs) {
        if (!can_run(rung, problem, capability) || !small_enough(op, problem, largest_call())) continue;
        if (!test) test.emplace(device.target.catalogue(), op, problem);
        test_run(device, rung, *test, tally);
        tally.runs += 1;
        tally.shapes.insert(static_cast<int>(shape));
      }
    }
  }
  for (const auto& output : tally.output_seen)
    CHECK_MESSAGE(output.second, std::string(op.name), ": ", output.first, " was 0 everywhere, in every shape");
  tally.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Returns the number of rungs x shapes x types that ran.
int test_catalogue(const Device& device) {
  int runs = 0;
  std::size_t rungs = 0, shapes = 0;
  fmt::print("{}: {}\n{:<28}{:>6}{:>8}{:>6}{:>9}\n", device.target.name, device.target.describe(device.index), "op",
             "rungs", "shapes", "runs", "seconds");
  for (const Op* op : device.target.catalogue()) {
    if (!op_selected(op->name)) continue;
    Tally tally;
    test_op(device, *op, tally);
    fmt::print("{:<28}{:>6}{:>8}{:>6}{:>9.2f}\n", op->name, op->rungs.size(), tally.shapes.size(), tally.runs,
               tally.seconds);
    CHECK_MESSAGE(tally.runs > 0, std::string(op->name), ": no rung ran at all");
    runs += tally.runs;
    rungs += op->rungs.size();
    shapes += tally.shapes.size();
  }
  fmt::print("{}: {} rungs, {} shapes; {} rungs x shapes x types ran\n", device.target.name, rungs, shapes, runs);
  return runs;
}

TEST_CASE("catalogue: every rung on simt agrees with the reference") {
  const int runs = test_catalogue({simt::target()});
  if (std::getenv("WEFT_OPS") == nullptr && std::getenv("WEFT_LARGEST") == nullptr) CHECK(runs >= kFewestRuns);
}

TEST_CASE("catalogue: every rung on cuda agrees with the reference") {
#if WEFT_WITH_CUDA
  const int devices = cuda::target().device_count();
  if (devices == 0) fmt::print("skipped: no GPU here\n");
  for (int device = 0; device < devices; ++device) test_catalogue({cuda::target(), device});
#else
  fmt::print("skipped: built without cuda\n");
#endif
}

TEST_CASE("catalogue: a sanitizer's run has the shapes that are there for a loop, however large") {
  const Catalogue catalogue = simt::target().catalogue();
  const double largest = 2e5;  // as tools/gpu_check has it
  const struct {
    const char *op, *shape;  ///< the extents that the shape begins with
  } kLoopShapes[] = {
      {"batch_norm_train", "rows=1100 C=40"},
      {"batch_norm_train_backward", "rows=1100 C=40"},
      {"conv2d", "N=5 H=14 W=14 C=32 K=8 R=5"},               // im2col's parts
      {"conv2d", "N=5 H=16 W=16 C=4 K=8 R=3"},                // Winograd's
      {"conv2d_backward_data", "N=1 H=19 W=29 C=72 K=72"},    // depthwise, rows after rows
      {"conv2d_backward_filter", "N=17 H=14 W=14 C=8 K=8"},   // depthwise, pictures after pictures
      {"conv2d_statistics", "N=1 H=12 W=12 C=16 K=136 R=3"},  // a persistent block's second tile
      {"gemm", "M=130 N=258 K=140"},
  };
  for (const auto& loop : kLoopShapes) {
    CAPTURE(std::string(loop.op) + " " + loop.shape);
    const Op* const op = find_op(catalogue, loop.op);
    REQUIRE(op != nullptr);
    int found = 0;
    for (const Problem& problem : op->problems) {
      char text[256];
      const std::string all = describe(*op, problem, text, sizeof text);
      if (!all.starts_with(std::string(loop.op) + " " + loop.shape + " ")) continue;
      found += 1;
      CHECK(op->flops(problem) + op->bytes(problem) > largest);
      CHECK(small_enough(*op, problem, largest));
    }
    CHECK(found > 0);
  }
  const Op* const conv2d = find_op(catalogue, "conv2d");
  int left_out = 0;
  for (const Problem& problem : conv2d->problems) left_out += !small_enough(*conv2d, problem, largest);
  CHECK(left_out > 10);  // layers of ResNet, whose loops are those of the others
}

TEST_CASE("catalogue: the entries are sound") {
  const Catalogue catalogue = simt::target().catalogue();
  std::set<std::string> names;
  for (const Op* op : catalogue) {
    CAPTURE(std::string(op->name));
    CHECK_MESSAGE(names.insert(op->name).second, "the name occurs twice");
    CHECK(op->formula != nullptr);
    CHECK((op->reference != nullptr));
    CHECK(op->problems.size() > 0);
    CHECK(op->rungs.size() > 0);
    CHECK(op->extent_names.size() <= static_cast<std::size_t>(kMaxExtents));
    CHECK(op->bound.c <= 4);
    if (op->gradient_of) CHECK(find_op(catalogue, op->gradient_of) != nullptr);
    std::set<std::string> rungs;
    for (const Rung& rung : op->rungs) {
      CHECK_MESSAGE(rungs.insert(rung.name).second, std::string(rung.name), " occurs twice");
      CHECK(rung.bound_factor >= 1);
      CHECK(rung.bound_factor <= 8);
    }
    for (const Problem& problem : op->problems) {
      char text[256];
      CAPTURE(std::string(describe(*op, problem, text, sizeof text)));
      if (op->check) CHECK_NOTHROW(op->check(problem));
      CHECK(op->flops(problem) >= 0);
      CHECK(op->bytes(problem) > 0);
      const int rung = pick_rung(*op, problem, 0);
      REQUIRE(rung >= 0);
      CHECK(can_run(op->rungs[static_cast<std::size_t>(rung)], problem, 0));
      // A gradient's operands are named after its forward op's: see Op::gradient_of.
      if (op->gradient_of == nullptr) continue;
      const Signature forward = find_op(catalogue, op->gradient_of)->signature(problem);
      const Signature signature = op->signature(problem);
      for (int i = 0; i < signature.count; ++i) {
        const std::string name = signature.operands[i].name;
        const bool known = find_operand(forward, name) >= 0;
        const std::string part = name.starts_with("other_") ? name.substr(6) : name;
        const bool gradient = part[0] == 'd' && find_operand(forward, part.substr(1)) >= 0;
        CHECK_MESSAGE((known || gradient), name, " is no operand of ", std::string(op->gradient_of),
                      ", nor the gradient of one");
      }
    }
  }
}

}  // namespace
}  // namespace weft::test
