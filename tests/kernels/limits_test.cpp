// What a test takes away from a GPU (kernels/limits.h): it is never more than there was, and small shapes then come by
// the loops over tiles and parts, with the same results.
#include "kernels/limits.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/gemm/tile_order.h"
#include "tests/kernels/harness.h"
#include "tests/temporary_folder.h"

namespace weft::test {
namespace {

/// A variable of the environment, for a scope.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value, 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { before_.empty() ? unsetenv(name_) : setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

TEST_CASE("limits: they lower what there is, and never raise it") {
  {
    const Variable none("WEFT_MULTIPROCESSORS", ""), neither("WEFT_PART_BYTES", "");
    CHECK(multiprocessors_to_use(132) == 132);
    CHECK(part_bytes_to_use(std::int64_t{512} << 20) == std::int64_t{512} << 20);
    CHECK(simt::multiprocessor_count() == 2);
  }
  const Variable few("WEFT_MULTIPROCESSORS", "7"), small("WEFT_PART_BYTES", "131072");
  CHECK(multiprocessors_to_use(132) == 7);
  CHECK(multiprocessors_to_use(2) == 2);
  CHECK(part_bytes_to_use(std::int64_t{512} << 20) == 131072);
  CHECK(part_bytes_to_use(4096) == 4096);
  const Variable one("WEFT_MULTIPROCESSORS", "1");
  CHECK(simt::multiprocessor_count() == 1);
}

TEST_CASE("limits: what is no number of 1 or more is refused by name") {
  for (const char* wrong : {"0", "-2", "two", "2.5", "2 ", "99999999999999999999"}) {
    const Variable few("WEFT_MULTIPROCESSORS", wrong), small("WEFT_PART_BYTES", wrong);
    CHECK(error_of([] { multiprocessors_to_use(132); }) ==
          std::string("WEFT_MULTIPROCESSORS=") + wrong + ": wants a whole number of 1 or more");
    CHECK(error_of([] { part_bytes_to_use(132); }) ==
          std::string("WEFT_PART_BYTES=") + wrong + ": wants a whole number of 1 or more");
  }
}

/// Runs a rung and holds it to its bound.
void check_run(const char* op_name, const std::string& rung_name, Problem problem, DType dtype) {
  const Catalogue catalogue = simt::target().catalogue();
  const Op* const op = find_op(catalogue, op_name);
  REQUIRE(op != nullptr);
  problem.dtype = dtype;
  CAPTURE(rung_name);
  CAPTURE(std::string(op_name));
  int runs = 0;
  for (const Rung& rung : op->rungs) {
    if (rung_name != rung.name) continue;
    REQUIRE(can_run(rung, problem, 0));
    const auto values = draw_operands(catalogue, *op, problem, Draw::random, true);
    const Signature signature = op->signature(problem);
    const Outcome outcome = run_rung({simt::target()}, rung, problem, signature, values);
    for (const std::string& line : outcome.complaints) FAIL_CHECK(line);
    for (const std::string& line :
         compare(*op, problem, signature, evaluate(*op, problem, values), outcome, false, rung.bound_factor))
      FAIL_CHECK(line);
    ++runs;
  }
  CHECK(runs == 1);
}

std::int64_t workspace_of(const char* op_name, const std::string& rung_name, const Problem& problem) {
  for (const Rung& rung : find_op(simt::target().catalogue(), op_name)->rungs)
    if (rung_name == rung.name) return rung.workspace_bytes(problem);
  return 0;
}

TEST_CASE("limits: Winograd's pictures and im2col's columns in parts") {
  const Problem problem{{5, 16, 16, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}};  // 48 KiB a picture for Winograd
  for (const char* op : {"conv2d", "conv2d_backward_data"}) {
    const std::int64_t whole = workspace_of(op, "winograd", problem);
    const Variable small("WEFT_PART_BYTES", "131072");
    CHECK(workspace_of(op, "winograd", problem) < whole / 2);  // two pictures of five
    check_run(op, "winograd", problem, DType::f32);
  }
  for (const char* op : {"conv2d", "conv2d_backward_data", "conv2d_backward_filter"}) {
    const std::int64_t whole = workspace_of(op, "im2col-gemm", problem);
    const Variable small("WEFT_PART_BYTES", "30000");
    CHECK(workspace_of(op, "im2col-gemm", problem) < whole / 4);
    for (const char* rung : {"im2col-gemm", "im2col-tiles"})
      for (const DType dtype : {DType::f32, DType::bf16}) check_run(op, rung, problem, dtype);
  }
}

TEST_CASE("limits: one multiprocessor, whose block takes every tile") {
  const Variable one("WEFT_MULTIPROCESSORS", "1");
  const Problem two_tiles{{1, 5, 4, 16, 136, 1, 1, 1, 1, 0, 0, 1, 1, 1}};
  check_run("conv2d", "implicit-persistent", two_tiles, DType::bf16);
  check_run("conv2d_statistics", "implicit-persistent", two_tiles, DType::bf16);
}

}  // namespace
}  // namespace weft::test
