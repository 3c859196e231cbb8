// The sampled truth and a measurement's verdict: right results pass, each kind of wrong one is caught.

#include "bench/truth.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "bench/measure.h"
#include "kernels/ops.h"

namespace weft::bench {
namespace {

const Place& simt_place() {
  static const Place place = make_place("simt");
  return place;
}

const Op& op_of(const char* name) {
  const Op* op = test::find_op(simt_place().target->catalogue(), name);
  REQUIRE(op != nullptr);
  return *op;
}

Problem gemm_problem(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {{m, n, k}, {1, 0}};
}

void run_chosen(const Call& call, int set = 0) {
  const Rung& rung = call.op().rungs[static_cast<std::size_t>(pick_rung(call.op(), call.problem(), 0))];
  const Memory workspace(call.place(),
                         static_cast<std::size_t>(rung.workspace_bytes ? rung.workspace_bytes(call.problem()) : 0));
  rung.launch(call.problem(), call.operands(set), workspace.data(), nullptr);
}

/// The first case of its op in these sets.
Case case_of(const char* op, const char* shape, const std::string& set = "catalogue") {
  CaseOptions options;
  options.sets = {set};
  options.op = std::string("^") + op + "$";
  options.shape = shape;
  options.dtypes = {DType::f32};
  options.batches = {1};
  const std::vector<Case> cases = make_cases(simt_place(), options);
  REQUIRE(!cases.empty());
  return cases.front();
}

TEST_CASE("truth: a part of a product agrees with the whole, and its edges belong to it") {
  const Call call(simt_place(), op_of("gemm"), gemm_problem(61, 67, 40), 0, nullptr);
  call.reset(0);
  const Truth truth(call, 2e4);
  CHECK(truth.share() < 0.2);
  CHECK(truth.part().extents[extents::Gemm::M] < 61);
  run_chosen(call);
  const Deviation fine = truth.judge();
  CHECK(fine.passes());
  CHECK(fine.norm < 1e-6);
  CHECK(fine.norm > 0);

  auto* y = static_cast<float*>(call.find(0, "y"));
  const float corner = y[61 * 67 - 1];
  y[61 * 67 - 1] += 1;
  const Deviation wrong = truth.judge();
  CHECK(!wrong.passes());
  CHECK(wrong.bound > 1);
  CHECK(wrong.wrong.at(0).starts_with("y: "));
  y[61 * 67 - 1] = corner;
  CHECK(truth.judge().passes());
}

TEST_CASE("truth: an element outside the part that was never written is found all the same") {
  const Call call(simt_place(), op_of("gemm"), gemm_problem(61, 67, 40), 0, nullptr);
  call.reset(0);
  const Truth truth(call, 2e4);
  run_chosen(call);
  auto* y = static_cast<float*>(call.find(0, "y"));
  int caught = 0, outside = 0;
  for (int i = 0; i < 61 * 67; i += 97) {
    const float before = y[i];
    y[i] = 1e9F;
    const bool inside = !truth.judge().passes();
    y[i] = std::numeric_limits<float>::quiet_NaN();
    const bool missed = truth.judge().passes();
    y[i] = before;
    CHECK(!missed);
    caught += inside;
    outside += !inside;
  }
  CHECK(outside > caught);  // so most of these were indeed outside
}

TEST_CASE("truth: of every op it is said along what a call is cut, or why it is not") {
  for (const Op* op : simt_place().target->catalogue()) {
    CAPTURE(std::string(op->name));
    const std::vector<std::string> extents = independent_extents(op->name);
    CHECK(extents.empty() != checked_whole(op->name).empty());
    for (const std::string& extent : extents) CHECK(find_extent(*op, extent.c_str()) >= 0);
  }
}

TEST_CASE("truth: large calls are cut to about the operations that are allowed") {
  const struct {
    const char* op;
    Problem problem;
  } kLarge[] = {
      {"conv2d_statistics", {{2, 14, 14, 8, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1}}},
      {"conv2d", {{9, 9, 9, 24, 24, 3, 3, 1, 1, 1, 1, 1, 1, 24}}},
      {"conv2d_backward_data", {{2, 9, 9, 60, 60, 3, 3, 1, 1, 1, 1, 1, 1, 60}}},
      {"conv2d_backward_filter", {{2, 14, 14, 40, 40, 3, 3, 2, 2, 1, 1, 1, 1, 40}}},
      {"batch_norm_train_gathered", {{500, 64}, {1e-5, 0.1}}},
      {"batch_norm_fold", {{5000}, {1e-5}}},
      {"normalize_pixels", {{9000, 3}}},
  };
  for (const auto& large : kLarge) {
    CAPTURE(std::string(large.op));
    const Call call(simt_place(), op_of(large.op), large.problem, 0, nullptr);
    call.reset(0);
    const Truth truth(call, 3e4);
    CHECK(truth.share() < 0.5);
    const Deviation unwritten = truth.judge();
    CHECK(!unwritten.passes());
    run_chosen(call);
    CHECK(truth.judge().passes());
  }
}

TEST_CASE("truth: a filter's gradient in groups is checked whole, but for a depthwise one") {
  const auto part_of = [](std::int64_t groups) {
    const Problem problem{{2, 9, 9, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, groups}};
    const Call call(simt_place(), op_of("conv2d_backward_filter"), problem, 0, nullptr);
    call.reset(0);
    return Truth(call, 2e4).part();
  };
  using extents::Conv2d;
  CHECK(part_of(4).extents[Conv2d::K] == 40);
  const Problem depthwise = part_of(40);
  CHECK(depthwise.extents[Conv2d::K] < 20);
  CHECK(depthwise.extents[Conv2d::C] == depthwise.extents[Conv2d::K]);
  CHECK(depthwise.extents[Conv2d::groups] == depthwise.extents[Conv2d::K]);
}

TEST_CASE("truth: every op's part agrees with its rung, in both types") {
  int parts = 0;
  for (const Op* op : simt_place().target->catalogue()) {
    Problem largest = op->problems.front();
    for (const Problem& problem : op->problems) {
      const Signature signature = op->signature(problem);
      bool dense = true;
      for (int i = 0; i < signature.count; ++i) dense &= signature.operands[i].row_pitch == 0;
      if (dense && op->flops(problem) + op->bytes(problem) > op->flops(largest) + op->bytes(largest)) largest = problem;
    }
    for (const DType dtype : {DType::f32, DType::bf16}) {
      largest.dtype = dtype;
      if (pick_rung(*op, largest, 0) < 0) continue;
      CAPTURE(std::string(op->name));
      CAPTURE(static_cast<int>(dtype));
      const Call call(simt_place(), *op, largest, 0, nullptr);
      call.reset(0);
      const Truth truth(call, 3e3);
      run_chosen(call);
      const Deviation found = truth.judge();
      for (const std::string& line : found.wrong) FAIL_CHECK(line);
      CHECK(found.passes());
      parts += truth.share() < 1;
    }
  }
  CHECK(parts >= 40);  // most ops fall into parts
}

TEST_CASE("measure: a sound rung has times, errors and no fault") {
  Case item = case_of("relu", "^n=4099$");
  const auto clock = make_clock(simt_place());
  std::vector<std::unique_ptr<Peer>> peers;
  Ceilings ceilings;
  ceilings.bytes_per_second = 1e12;
  Session session(simt_place(), *clock, item, peers, {.seconds = 1e-3, .samples = 7}, ceilings);
  const Row row = session.measure(item.op->rungs.front());
  CHECK(row.fault == "");
  CHECK(row.samples >= 3);
  CHECK(row.samples <= 7);
  CHECK(row.launches >= 1);
  CHECK(row.low <= row.seconds);
  CHECK(row.seconds <= row.high);
  CHECK(row.seconds > 0);
  CHECK(row.error_before == 0);
  CHECK(row.error_after == 0);
  CHECK(row.ceiling_share == doctest::Approx(row.bytes / 1e12 / row.seconds));
  CHECK(std::isnan(row.peer_ratio));
  CHECK(!session.measure_peer().has_value());
}

int launches = 0;

TEST_CASE("measure: a rung that is wrong at once, later, or throws, is a fault") {
  const Case right = case_of("relu", "^n=129$");
  const auto clock = make_clock(simt_place());
  std::vector<std::unique_ptr<Peer>> peers;
  const Ceilings ceilings;
  const auto fault_of = [&](void (*launch)(const Problem&, void* const*, void*, Stream)) {
    launches = 0;
    const Rung rung = {"made-up", "For this test.", {}, launch};
    Session session(simt_place(), *clock, right, peers, {.seconds = 1e-3, .samples = 3}, ceilings);
    return session.measure(rung).fault;
  };
  const std::string nothing = fault_of([](const Problem&, void* const*, void*, Stream) {});
  CHECK(nothing.starts_with("wrong before timing: y: "));
  CHECK(nothing.find("nan should be") != std::string::npos);
  const std::string later = fault_of([](const Problem& p, void* const* operands, void*, Stream) {
    const auto* x = static_cast<const float*>(operands[0]);
    auto* y = static_cast<float*>(operands[1]);
    ++launches;
    for (std::int64_t i = 0; i < p.extents[0]; ++i) y[i] = x[i] > 0 ? x[i] : launches > 1 && i == 7 ? 1.0F : 0.0F;
    if (launches > 1) y[0] += 1;
  });
  CHECK(later.starts_with("wrong after timing: y: "));
  const std::string thrown =
      fault_of([](const Problem&, void* const*, void*, Stream) { throw std::runtime_error("no such thing"); });
  CHECK(thrown == "no such thing");
}

TEST_CASE("measure: oneDNN is the peer on the host, judged like a rung") {
#if WEFT_WITH_CPU
  std::vector<std::string> said;
  auto peers = open_peers(simt_place(), said);
  REQUIRE(peers.size() == 1);
  CHECK(said.empty());
  const auto clock = make_clock(simt_place());
  const Ceilings ceilings;
  CaseOptions options;
  options.sets = {"lenet"};
  options.batches = {2};
  options.size = 28;
  options.dtypes = {DType::f32};
  int measured = 0;
  for (const Case& item : make_cases(simt_place(), options)) {
    CAPTURE(std::string(item.op->name));
    CAPTURE(item.note);
    Session session(simt_place(), *clock, item, peers, {.seconds = 1e-4, .samples = 1, .fewest = 1}, ceilings);
    const std::optional<Row> row = session.measure_peer();
    if (!row) continue;
    CHECK(row->fault == "");
    CHECK(row->is_peer);
    CHECK(row->who.starts_with("oneDNN "));
    CHECK(!row->algorithm.empty());
    CHECK(row->bound_after <= 1);
    ++measured;
  }
  CHECK(measured >= 10);
#else
  MESSAGE("skipped: built without the cpu device");
#endif
}

TEST_CASE("measure: ceilings are measured with the kernels that a GPU would run") {
  const auto clock = make_clock(simt_place());
  const Ceilings ceilings = measure_ceilings(simt_place(), *clock);
  CHECK(ceilings.bytes_per_second > 0);
  for (const char* arithmetic : {"f32", "tf32", "bf16"}) CHECK(ceilings.flops_per_second.at(arithmetic) > 0);
  Ceilings made_up;
  made_up.bytes_per_second = 100;
  made_up.flops_per_second["f32"] = 1000;
  CHECK(made_up.floor("f32", 500, 10) == 0.5);
  CHECK(made_up.floor("f32", 50, 10) == 0.1);
  CHECK(made_up.floor("bf16", 500, 10) == 0.1);
  CHECK(Ceilings{}.floor("f32", 500, 10) == 0);
}

}  // namespace

TEST_CASE("ceilings: nothing beats the products that Winograd leaves, nor memory that goes one way") {
  Ceilings ceilings;
  ceilings.bytes_per_second = 1e12;
  ceilings.flops_per_second = {{"f32", 5e13}};
  CHECK(ceilings.floor("f32", 1e11, 1e8) == 1e11 / 5e13);
  CHECK(ceilings.least("gemm", "f32", 1e11, 1e8) == 1e11 / 5e13);
  CHECK(ceilings.least("conv2d_backward_data", "f32", 1e11, 1e8) == 1e11 / 4 / 5e13);
  CHECK(ceilings.least("sum", "f32", 1e6, 1e8) == 1e8 / 1.15 / 1e12);
  CHECK(ceilings.least("gemm", "bf16", 1e11, 0) == 0);  // not measured
}

}  // namespace weft::bench
