// Every built-in op on the cpu device, fused and not, in both math modes, on one thread and on two.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/core/op_parity.h"

#if WEFT_WITH_CPU

namespace weft::test {
namespace {

TEST_CASE("cpu: every built-in op agrees with the reference") {
  for (const int threads : {1, 2})
    for (const Math math : {Math::strict, Math::fast})
      for (const bool fuse : {true, false}) {
        CAPTURE(threads);
        CAPTURE(fuse);
        ParityOptions options;
        // What passes for kernels make; this device folds into filters itself.
        options.skip = {"batch_norm_fold", "conv2d_statistics", "batch_norm_train_gathered", "relu_bias_backward",
                        "cross_entropy_forward_backward"};
        options.compile.math = math;
        options.compile.fuse = fuse;
        options.fused = false;
        const ParityReport report = check_op_parity(make_device("cpu", {.threads = threads}), options);
        for (const std::string& line : report.wrong) FAIL_CHECK(line);
        CHECK(report.graphs >= 48);
        CHECK(report.ops.size() >= 34);
      }
}

}  // namespace
}  // namespace weft::test

#endif
