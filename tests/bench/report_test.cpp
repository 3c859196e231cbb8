// Tables, JSON and charts of made-up results; the shapes that are measured.

#include "bench/report.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/chart.h"
#include "kernels/ops.h"
#include "tests/temporary_folder.h"
#include "tests/tools/harness.h"

namespace weft::bench {
namespace {

Row made_up_row(const std::string& who, double seconds, bool is_peer = false) {
  Row row;
  row.op = "gemm";
  row.dtype = row.arithmetic = "bf16";
  row.shape = "M=64,N=64,K=64";
  row.set = "gemm";
  row.who = who;
  row.is_peer = is_peer;
  row.flops = 2.0 * 64 * 64 * 64;
  row.bytes = 3 * 64 * 64 * 2;
  row.samples = 20;
  row.launches = 3;
  row.seconds = seconds;
  row.low = 0.9 * seconds;
  row.high = 1.1 * seconds;
  row.error_before = row.error_after = 1e-3;
  row.bound_before = row.bound_after = 0.25;
  row.ceiling_share = 1e-6 / seconds;
  return row;
}

Report made_up_report() {
  Report report;
  report.date = "2026-01-02T03:04:05Z";
  report.version = "0.1.0";
  report.place = "cuda:0";
  report.device = "Some GPU";
  report.versions = "driver 1";
  report.host = "Some CPU";
  report.capability = 90;
  report.peers = {"cuBLAS 1"};
  report.ceilings.bytes_per_second = 3e12;
  report.ceilings.flops_per_second = {{"bf16", 8e14}, {"f32", 0}};
  report.rows = {made_up_row("cuBLAS 1", 4e-6, true), made_up_row("naive", 8e-6), made_up_row("wgmma", 2e-6)};
  report.rows[0].algorithm = "the best | one";
  report.rows[1].peer_ratio = 0.5;
  report.rows[2].peer_ratio = 2;
  Row broken = made_up_row("broken", 1e-9);
  broken.fault = "wrong before timing: y";
  broken.error_before = kUnknown;
  report.rows.push_back(broken);
  return report;
}

TEST_CASE("report: JSON comes back as it went") {
  const Report report = made_up_report();
  const std::string text = to_json(report);
  const Report again = from_json(text, "file");
  CHECK(to_json(again) == text);
  REQUIRE(again.rows.size() == 4);
  CHECK(again.rows[0].is_peer);
  CHECK(std::isnan(again.rows[0].peer_ratio));
  CHECK(again.rows[2].peer_ratio == 2);
  CHECK(again.rows[3].fault == "wrong before timing: y");
  CHECK(std::isnan(again.rows[3].error_before));
  CHECK(again.ceilings.flops_per_second.at("bf16") == 8e14);
  CHECK(again.capability == 90);
}

TEST_CASE("report: a file that is none is refused by its name") {
  CHECK(test::error_of([] { from_json("{", "r.json"); }).starts_with("r.json: not a result of weft_bench"));
  CHECK(
      test::error_of([] { from_json("{\"format\": 2}", "r.json"); }).starts_with("r.json: not a result of weft_bench"));
  CHECK(test::error_of([] { from_json("{\"format\": 3}", "r.json"); }).find("format 3, wanted 2") != std::string::npos);
}

TEST_CASE("report: the summary takes the best sound rung of each call") {
  Report report = made_up_report();
  Row second = made_up_row("wgmma", 1e-6);
  second.shape = "M=128,N=64,K=64";
  second.peer_ratio = 0.5;
  report.rows.push_back(second);
  REQUIRE(best_rungs(report).size() == 2);
  CHECK(best_rungs(report)[0]->who == "wgmma");
  // Ratios 2 and 0.5: geometric mean 1, worst 0.5. Shares 0.5 and 1: geometric mean 0.71.
  // The peer has measured the first call alone; there wgmma's error is half as much again, the broken rung's not
  // counted.
  report.rows[0].error_before = report.rows[0].error_after = 2e-3;
  report.rows[2].error_before = 1e-3;
  report.rows[2].error_after = 3e-3;
  CHECK(summary_markdown(report).find("| gemm | gemm | bf16 | 2 | 1.00 | 0.50 | 71% | 1.50 | wgmma |") !=
        std::string::npos);
  report.rows[0].fault = "wrong";
  CHECK(summary_markdown(report).find(" | 71% |  | wgmma |") != std::string::npos);
}

TEST_CASE("report: two runs make one, in which the newer rows stand and what was left out before is there now") {
  Report older = made_up_report();
  older.left_out = {"cuDNN is left out: no"};
  older.passed_over = {
      {"gemm", "gemm", "bf16", 2, 5, 9.6}, {"gemm", "gemm", "f32", 3, 4, 9.6}, {"ops", "x", "f32", 1, 4, 9.6}};
  CHECK(passed_over_lines(older) ==
        std::vector<std::string>{
            "gemm: 5 of 9 measurements are left out, for the 10 s were up: 2 of gemm bf16, 3 of gemm f32",
            "ops: 1 of 4 measurements are left out, for the 10 s were up: 1 of x f32"});
  CHECK(to_markdown(older).find("\nops: 1 of 4 measurements are left out") != std::string::npos);
  CHECK(passed_over_lines(from_json(to_json(older), "here")) == passed_over_lines(older));
  Report newer = made_up_report();
  newer.peers = {"cuDNN 9"};
  newer.ceilings.bytes_per_second = 4e12;
  newer.ceilings.flops_per_second = {{"bf16", 7e14}};
  newer.rows = {made_up_row("wgmma", 1e-6), made_up_row("persistent", 1e-6)};
  const Report both = merged(older, newer);
  REQUIRE(both.rows.size() == 5);  // wgmma's is replaced
  CHECK(both.rows[0].who == "cuBLAS 1");
  CHECK(both.rows[3].who == "wgmma");
  CHECK(both.rows[3].seconds == 1e-6);
  CHECK(both.left_out == older.left_out);
  // bfloat16 is there now; that float32 was left out stays said, though it is the same set.
  REQUIRE(passed_over_lines(both).size() == 2);
  CHECK(passed_over_lines(both)[0] == "gemm: 3 of 4 measurements are left out, for the 10 s were up: 3 of gemm f32");
  newer.passed_over = {{"ops", "x", "f32", 2, 4, 20}};  // tried again, and again too late
  CHECK(passed_over_lines(merged(older, newer))[1] ==
        "ops: 2 of 4 measurements are left out, for the 20 s were up: 2 of x f32");
  CHECK(both.peers == std::vector<std::string>{"cuDNN 9", "cuBLAS 1"});
  CHECK(both.ceilings.bytes_per_second == 4e12);
  CHECK(both.ceilings.flops_per_second.at("bf16") == 8e14);
  // The same call in another set is another measurement.
  newer.rows[0].set = "resnet34 N=128";
  CHECK(merged(older, newer).rows.size() == 6);
  CHECK(best_rungs(merged(older, newer)).size() == 2);
  newer.device = "Another GPU";
  CHECK(test::error_of([&] { merged(older, newer); }).find("Some GPU, and Another GPU") != std::string::npos);
}

TEST_CASE("report: a peer's choice that was cut short is counted and named") {
  Report report = made_up_report();
  CHECK(to_markdown(report).find("--search") == std::string::npos);
  report.rows[0].cut_short = true;
  report.rows[0].note = "layer1.0.conv1";
  const std::string text = to_markdown(report);
  CHECK(text.find("Of 1 calls of peers 1 were not tried with every algorithm") != std::string::npos);
  CHECK(text.find("than it looks: gemm bf16 layer1.0.conv1.") != std::string::npos);
  CHECK(from_json(to_json(report), "file").rows[0].cut_short);
}

TEST_CASE("report: Markdown says what ran, what it took and what failed") {
  const std::string text = to_markdown(made_up_report());
  for (const char* part : {"Some GPU", "copy 3000 GB/s, bf16 800 TFLOP/s, f32 not measured", "## gemm",
                           "| wgmma | 2.0 us (1.8 us to 2.2 us) | 0.262 | 12.3 | 50% | 2.00 | 1.0e-03 (25% of bound) |",
                           "**wrong before timing: y**"})
    CHECK_MESSAGE(text.find(part) != std::string::npos, part);
  CHECK(text.find("say nothing") == std::string::npos);
  Report emulated = made_up_report();
  emulated.meaningless = true;
  CHECK(to_markdown(emulated).find("**These times say nothing about a kernel's speed") != std::string::npos);
}

TEST_CASE("report: bars and a roofline are drawn, with axes and names") {
  if (!can_draw()) {
    MESSAGE("skipped: no gnuplot");
    return;
  }
  const test::TemporaryFolder folder;
  const auto files = draw_charts(made_up_report(), folder.path(), "run");
  REQUIRE(files.size() == 2);
  CHECK(files[0].filename() == "run-gemm-bf16.svg");
  CHECK(files[1].filename() == "run-roofline-bf16.svg");
  const std::string bars = tests::read_all(files[0]), roof = tests::read_all(files[1]);
  for (const char* part : {"gemm bf16, Some GPU", "TFLOP/s", "naive", "wgmma", "cuBLAS 1"})
    CHECK_MESSAGE(bars.find(part) != std::string::npos, part);
  CHECK(bars.find("broken") == std::string::npos);
  for (const char* part : {"operations a byte", "TFLOP/s", "ceiling", "best rung", "peer"})
    CHECK_MESSAGE(roof.find(part) != std::string::npos, part);
}

std::vector<Case> cases_of(const std::vector<std::string>& sets, std::int64_t batch) {
  CaseOptions options;
  options.sets = sets;
  options.batches = {batch};
  return make_cases(make_place("simt"), options);
}

TEST_CASE("cases: a model's layers come from its graph, each call once and counted") {
  const auto cases = cases_of({"resnet18"}, 8);
  const auto find = [&](const std::string& op, const std::string& shape, DType dtype) {
    for (const Case& item : cases)
      if (op == item.op->name && item.problem.dtype == dtype && shape_text(*item.op, item.problem) == shape)
        return &item;
    return static_cast<const Case*>(nullptr);
  };
  const std::string layer1 =
      "N=8,H=56,W=56,C=64,K=64,R=3,S=3,stride_h=1,stride_w=1,pad_h=1,pad_w=1,dilation_h=1,dilation_w=1,groups=1";
  for (const char* op : {"conv2d", "conv2d_backward_data", "conv2d_backward_filter"})
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Case* found = find(op, layer1, dtype);
      REQUIRE(found != nullptr);
      CHECK(found->count == 4);
      CHECK(found->set == "resnet18 N=8");
      CHECK(found->note.find("layer1.") != std::string::npos);
      CHECK(found->node != nullptr);
    }
  CHECK(
      find("conv2d_backward_data",
           "N=8,H=224,W=224,C=3,K=64,R=7,S=7,stride_h=2,stride_w=2,pad_h=3,pad_w=3,dilation_h=1,dilation_w=1,groups=1",
           DType::f32) == nullptr);
  std::set<std::string> seen;
  for (const Case& item : cases) {
    std::string key = std::string(item.op->name) + " " + shape_text(*item.op, item.problem);
    const Signature signature = item.op->signature(item.problem);
    for (int i = 0; i < signature.count; ++i) key += dtype_text(signature.operands[i].dtype);
    CHECK_MESSAGE(seen.insert(key).second, key);
  }
}

TEST_CASE("cases: a model's set is followed by what fusing makes of its step and of prediction") {
  const auto cases = cases_of({"resnet18"}, 8);
  const auto fused = [&](const std::string& op, const std::string& shape) {
    return std::ranges::any_of(cases, [&](const Case& item) {
      return item.set == "resnet18 N=8 fused" && op == item.op->name && item.node == nullptr &&
             shape_text(*item.op, item.problem).find(shape) != std::string::npos;
    });
  };
  CHECK(fused("conv2d",
              "C=64,K=64,R=3,S=3,stride_h=1,stride_w=1,pad_h=1,pad_w=1,dilation_h=1,dilation_w=1,groups=1,"
              "has_bias=1,has_scale=1,has_residual=1,relu=1"));
  CHECK(fused("conv2d", "groups=1,has_bias=1,has_scale=1,relu=1"));
  CHECK(fused("batch_norm_train", "has_residual=1,relu=1"));
  CHECK(fused("batch_norm_train_backward", "has_residual=1,relu=1"));
  CHECK(fused("conv2d_backward_data", "has_residual=1"));  // where a shortcut's gradient is added
  CHECK(!fused("conv2d_backward_filter", ""));             // not fused: measured in the step's own set
  std::vector<std::string> order;
  for (const Case& item : cases)
    if (order.empty() || order.back() != item.set) order.push_back(item.set);
  CHECK(order == std::vector<std::string>{"resnet18 N=8", "resnet18 N=8 fused", "resnet18 N=8 gathered"});
}

TEST_CASE("cases: then by what gathering statistics makes of the step, in the types in which it does") {
  const auto cases = cases_of({"resnet34"}, 128);
  const auto count = [&](const std::string& op, const std::string& arithmetic, const std::string& shape) {
    int nodes = 0;
    for (const Case& item : cases)
      if (item.set == "resnet34 N=128 gathered" && op == item.op->name && item.arithmetic() == arithmetic &&
          shape_text(*item.op, item.problem).find(shape) != std::string::npos)
        nodes += item.count;
    return nodes;
  };
  // The stem and layer1's six, which no cluster's shared memory keeps: tests/core/gathering_test.cpp.
  CHECK(count("conv2d_statistics", "bf16", "N=128,H=224,W=224,C=3,K=64,R=7") == 1);
  CHECK(count("conv2d_statistics", "bf16", "N=128,H=56,W=56,C=64,K=64,R=3") == 6);
  CHECK(count("conv2d_statistics", "bf16", "") == 7);
  CHECK(count("batch_norm_train_gathered", "bf16", "rows=1605632,C=64,relu=1") == 1);
  CHECK(count("batch_norm_train_gathered", "bf16", "rows=401408,C=64,has_residual=1,relu=1") == 3);
  CHECK(count("batch_norm_train_gathered", "bf16", "") == 7);
  // In float32 the stem has a rung of its own, which does not gather; with TF32 it goes to tensor cores.
  CHECK(count("conv2d_statistics", "f32", "N=128,H=56,W=56,C=64,K=64,R=3") == 6);
  CHECK(count("conv2d_statistics", "f32", "") == 6);
  CHECK(count("conv2d_statistics", "tf32", "N=128,H=224,W=224,C=3,K=64,R=7") == 1);
  for (const char* op : {"conv2d", "conv2d_backward_data", "batch_norm_train"}) CHECK(count(op, "bf16", "") == 0);
}

TEST_CASE("cases: a depthwise convolution has no TF32") {
  CaseOptions options;
  options.sets = {"mobilenet_v2"};
  options.batches = {2};
  options.size = 32;
  options.op = "^conv2d";
  int depthwise = 0, tf32 = 0;
  for (const Case& item : make_cases(make_place("simt"), options)) {
    const bool grouped = item.problem.extents[extents::Conv2d::groups] > 1;
    CHECK(!(grouped && item.arithmetic() == "tf32"));
    depthwise += grouped;
    tf32 += item.arithmetic() == "tf32";
  }
  CHECK(depthwise > 0);
  CHECK(tf32 > 0);
}

TEST_CASE("cases: what was asked for first comes first, TF32 last") {
  CaseOptions options;
  options.sets = {"resnet18", "gemm"};
  options.batches = {1};
  options.size = 64;
  options.dtypes = {DType::bf16, DType::f32};
  std::vector<std::string> order;
  for (const Case& item : make_cases(make_place("simt"), options)) {
    const std::string one = item.set + ": " + item.arithmetic();
    if (order.empty() || order.back() != one) order.push_back(one);
  }
  CHECK(order == std::vector<std::string>{"resnet18 N=1: bf16", "resnet18 N=1: f32", "resnet18 N=1: tf32",
                                          "resnet18 N=1 fused: bf16", "resnet18 N=1 fused: f32",
                                          "resnet18 N=1 fused: tf32", "resnet18 N=1 gathered: bf16",
                                          "resnet18 N=1 gathered: f32", "resnet18 N=1 gathered: tf32", "gemm: bf16",
                                          "gemm: f32", "gemm: tf32"});
}

TEST_CASE("cases: every op of the catalogue is measured in some large shape") {
  std::set<std::string> ops;
  for (const Case& item : cases_of({"gemm", "resnet18", "ops"}, 1)) ops.insert(item.op->name);
  for (const Op* op : make_place("simt").target->catalogue())
    CHECK_MESSAGE(ops.contains(op->name), std::string(op->name));
}

TEST_CASE("cases: products are square from 256 to 8192, ragged, transposed, and in TF32 where the op knows it") {
  std::set<std::string> shapes;
  for (const Case& item : cases_of({"gemm"}, 1))
    shapes.insert(item.arithmetic() + " " + shape_text(*item.op, item.problem));
  for (const char* shape :
       {"bf16 M=256,N=256,K=256,alpha=1", "f32 M=8192,N=8192,K=8192,alpha=1", "bf16 M=4097,N=4095,K=4099,alpha=1",
        "f32 M=4096,N=4096,K=4096,trans_a=1,trans_b=1,alpha=1", "tf32 M=4096,N=4096,K=4096,tf32=1,alpha=1"})
    CHECK_MESSAGE(shapes.contains(shape), shape);
}

TEST_CASE("cases: an unknown set is refused, and lists those there are") {
  const std::string said = test::error_of([] { cases_of({"resnet19"}, 1); });
  for (const char* part : {"resnet19", "gemm", "catalogue", "resnet34"}) CHECK(said.find(part) != std::string::npos);
}

}  // namespace
}  // namespace weft::bench
