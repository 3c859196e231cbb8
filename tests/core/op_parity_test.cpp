#include "tests/core/op_parity.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "kernels/targets.h"

namespace weft::test {
namespace {

void expect_parity(const std::shared_ptr<Device>& device, const ParityOptions& options = {}) {
  const ParityReport report = check_op_parity(device, options);
  for (const std::string& line : report.wrong) FAIL_CHECK(line);
  CHECK(report.graphs >= 40);
  fmt::print("{}: {} ops in {} graphs, {} tensors compared\n", device->name(), report.ops.size(), report.graphs,
             report.tensors);
}

TEST_CASE("op parity: every built-in op on simt") {
  expect_parity(make_device("simt"));
}

#if WEFT_WITH_CUDA
TEST_CASE("op parity: every built-in op on cuda, where there is a GPU") {
  if (cuda::target().device_count() == 0) {
    MESSAGE("no GPU: skipped");
    return;
  }
  expect_parity(make_device("cuda"));
}
#endif

}  // namespace
}  // namespace weft::test
