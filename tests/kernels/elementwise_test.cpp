// What elementwise kernels do with a NaN and with addresses that a 16-byte access cannot use.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/error.h"
#include "kernels/ops.h"
#include "tests/kernels/call.h"

namespace weft::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("relu: a NaN passes through, so that a broken input does not look healthy one layer on") {
  const Values x = {kNaN, -1, 2, 0, kNaN};
  call_every_rung("relu", {{5}}, {x, Values(5)}, [&](const std::vector<Values>& results) {
    CHECK(std::isnan(results[1][0]));
    CHECK(std::isnan(results[1][4]));
    CHECK(Values(results[1].begin() + 1, results[1].begin() + 4) == Values{0, 2, 0});
  });
  call_every_rung("relu", {{5}, {1.5}}, {x, Values(5)}, [&](const std::vector<Values>& results) {
    CHECK(std::isnan(results[1][0]));
    CHECK(std::isnan(results[1][4]));
    CHECK(Values(results[1].begin() + 1, results[1].begin() + 4) == Values{0, 1.5, 0});
  });
}

TEST_CASE("relu_backward: nothing comes through at 0 or at the ceiling, and an infinity only where there is none") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Values dy = {1, 2, 3, 4, 5, 6}, y = {0, 1, 6, 5.5, 7, kInfinity};
  call_every_rung("relu_backward", {{6}, {6}}, {dy, y, Values(6)}, [&](const std::vector<Values>& results) {
    CHECK(results[2] == Values{0, 2, 0, 4, 0, 0});
  });
  call_every_rung("relu_backward", {{6}}, {dy, y, Values(6)}, [&](const std::vector<Values>& results) {
    CHECK(results[2] == Values{0, 2, 3, 4, 5, 6});
  });
}

TEST_CASE("relu: a ceiling below 0 is refused, and said to be") {
  const Device device{simt::target()};
  for (const char* op : {"relu", "relu_backward"})
    CHECK_THROWS_WITH_AS(op_of(device, op).check({{4}, {-1}}), doctest::Contains("the ceiling is -1"), Error);
}

/// What a rung leaves where operand i starts `shift(i)` elements behind a multiple of 16 bytes.
Outcome run_shifted(const Rung& rung, const Problem& problem, const Signature& signature,
                    const std::vector<Values>& operands, const std::function<int(int)>& shift) {
  constexpr std::byte kGuard{0xA5};
  Outcome outcome;
  std::vector<Bytes> buffers;
  void* pointers[kMaxOperands] = {};
  const auto lead = [&](int i) {
    return 16 + shift(i) * static_cast<std::ptrdiff_t>(bytes_of(signature.operands[i].dtype));
  };
  for (int i = 0; i < signature.count; ++i) {
    const Bytes bytes = encode(signature.operands[i].dtype, operands[static_cast<std::size_t>(i)]);
    Bytes& buffer = buffers.emplace_back(bytes.size() + 64, kGuard);
    REQUIRE(reinterpret_cast<std::uintptr_t>(buffer.data()) % 16 == 0);
    std::copy(bytes.begin(), bytes.end(), buffer.begin() + lead(i));
    pointers[i] = buffer.data() + lead(i);
  }
  Bytes workspace(rung.workspace_bytes ? static_cast<std::size_t>(rung.workspace_bytes(problem)) : 0);
  rung.launch(problem, pointers, workspace.data(), nullptr);
  for (int i = 0; i < signature.count; ++i) {
    const Bytes& buffer = buffers[static_cast<std::size_t>(i)];
    const auto begin = buffer.begin() + lead(i), end = buffer.end() - (64 - lead(i));
    CHECK(std::all_of(buffer.begin(), begin, [](std::byte b) { return b == kGuard; }));
    CHECK(std::all_of(end, buffer.end(), [](std::byte b) { return b == kGuard; }));
    outcome.operands.emplace_back(begin, end);
  }
  return outcome;
}

// A tensor's part may start at any element. The rungs that move 16 bytes at a time take its ragged ends apart, or do
// without.
TEST_CASE("memory-bound ops: operands that start at any element give the same result") {
  struct Call {
    const char* op;
    Problem problem;
  };
  constexpr int kSize = 77;
  const Call calls[] = {{"relu", {{kSize}}},
                        {"relu_backward", {{kSize}}},
                        {"relu", {{kSize}, {1}}},
                        {"relu_backward", {{kSize}, {1}}},
                        {"add", {{kSize}}},
                        {"scale", {{kSize}, {3}}},
                        {"fill", {{kSize}, {3}}},
                        {"sum", {{kSize}}},
                        {"dropout", {{kSize, 1, 2, 3}, {0.5}}},
                        {"sgd_step", {{kSize, 1}, {0.5, 0.5, 0.25}}},
                        {"bias_add", {{7, 11}}},
                        {"bias_add", {{7, 8}}},
                        {"bias_backward", {{7, 11}}},
                        {"bias_backward", {{70, 3}}},
                        {"relu_bias_backward", {{7, 11}}},
                        {"relu_bias_backward", {{70, 3}, {1}}},
                        {"normalize_pixels", {{25, 3}}},
                        {"softmax", {{7, 11}}},
                        {"softmax_backward", {{7, 11}}},
                        {"cross_entropy_forward_backward", {{7, 11}}},
                        {"cast", {{kSize, static_cast<int>(DType::f32), static_cast<int>(DType::f32)}}}};
  const Device device{simt::target()};
  const std::function<int(int)> shifts[] = {[](int) { return 1; }, [](int i) { return i; },
                                            [](int i) { return 3 - i % 3; }};
  for (const Call& call : calls) {
    const Op& op = op_of(device, call.op);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      Problem problem = call.problem;
      problem.dtype = dtype;
      const Signature signature = op.signature(problem);
      const std::vector<Values> operands = draw_operands(device.target.catalogue(), op, problem, Draw::random, true);
      const Truth truth = evaluate(op, problem, operands);
      for (const Rung& rung : op.rungs) {
        if (!can_run(rung, problem, 0)) continue;
        CAPTURE(call.op);
        CAPTURE(std::string(rung.name));
        CAPTURE(name_of(dtype));
        for (const auto& shift : shifts) {
          const Outcome outcome = run_shifted(rung, problem, signature, operands, shift);
          for (const std::string& line : compare(op, problem, signature, truth, outcome, false)) FAIL_CHECK(line);
        }
      }
    }
  }
}

TEST_CASE("normalize_pixels: black and white, by hand") {
  call_every_rung("normalize_pixels", {{2, 3}},
                  {{0, 255, 51, 255, 0, 102}, {0.5, 0.25, 0.2}, {0.5, 0.25, 0.1}, Values(6)},
                  [&](const std::vector<Values>& results) {
                    const Values expected = {-1, 3, 0, 1, -1, 2};
                    for (int i = 0; i < 6; ++i) CHECK(std::abs(results[3][i] - expected[i]) <= 1e-6);
                  });
}

}  // namespace
}  // namespace weft::test
