// What elementwise kernels do with a NaN and with addresses that a 16-byte access cannot use.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
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

// A tensor's part may start at any element. The rungs that move 16 bytes at a time must then do without.
TEST_CASE("elementwise: operands that start at any element give the same result") {
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
                        {"dropout", {{kSize, 1, 2, 3}, {0.5}}},
                        {"sgd_step", {{kSize, 1}, {0.5, 0.5, 0.25}}},
                        {"bias_add", {{7, 11}}},
                        {"bias_add", {{7, 8}}},
                        {"cast", {{kSize, static_cast<int>(DType::f32), static_cast<int>(DType::f32)}}}};
  const Device device{simt::target()};
  for (const Call& call : calls) {
    const Op& op = op_of(device, call.op);
    const Signature signature = op.signature(call.problem);
    const std::vector<Values> operands = draw_operands(device.target.catalogue(), op, call.problem, Draw::random, true);
    const Truth truth = evaluate(op, call.problem, operands);
    for (const Rung& rung : op.rungs) {
      if (!can_run(rung, call.problem, 0)) continue;
      CAPTURE(call.op);
      CAPTURE(std::string(rung.name));
      Outcome outcome;
      std::vector<std::vector<float>> buffers;
      void* pointers[kMaxOperands] = {};
      for (int i = 0; i < signature.count; ++i) {
        const Bytes bytes = encode(DType::f32, operands[static_cast<std::size_t>(i)]);
        buffers.emplace_back(bytes.size() / sizeof(float) + 1);
        std::memcpy(buffers.back().data() + 1, bytes.data(), bytes.size());
        pointers[i] = buffers.back().data() + 1;
      }
      rung.launch(call.problem, pointers, nullptr, nullptr);
      for (const std::vector<float>& buffer : buffers) {
        Bytes bytes((buffer.size() - 1) * sizeof(float));
        std::memcpy(bytes.data(), buffer.data() + 1, bytes.size());
        outcome.operands.push_back(bytes);
      }
      for (const std::string& line : compare(op, call.problem, signature, truth, outcome, false)) FAIL_CHECK(line);
    }
  }
}

}  // namespace
}  // namespace weft::test
