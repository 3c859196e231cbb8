#pragma once
// Calls one op on every device that is here, for tests of what an op means rather than of how it rounds.

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/kernels/harness.h"

namespace weft::test {

/// simt, and every GPU.
inline std::vector<Device> devices() {
  std::vector<Device> all = {{simt::target()}};
#if WEFT_WITH_CUDA
  for (int i = 0; i < cuda::target().device_count(); ++i) all.push_back({cuda::target(), i});
#endif
  return all;
}

inline const Op& op_of(const Device& device, const char* name) {
  const Op* op = find_op(device.target.catalogue(), name);
  REQUIRE_MESSAGE(op != nullptr, "no op ", name);
  return *op;
}

/// Runs every rung that can, on every device, on `operands` (in the signature's order; what an output holds does not
/// matter), and gives `look` what each left.
inline void call_every_rung(const char* name, const Problem& problem, const std::vector<Values>& operands,
                            const std::function<void(const std::vector<Values>&)>& look) {
  for (const Device& device : devices()) {
    const Op& op = op_of(device, name);
    if (op.check) op.check(problem);
    const Signature signature = op.signature(problem);
    for (const Rung& rung : op.rungs) {
      if (!can_run(rung, problem, device.target.capability(device.index))) continue;
      CAPTURE(device.target.name);
      CAPTURE(std::string(rung.name));
      const Outcome outcome = run_rung(device, rung, problem, signature, operands);
      for (const std::string& complaint : outcome.complaints) FAIL_CHECK(complaint);
      std::vector<Values> results;
      for (int i = 0; i < signature.count; ++i)
        results.push_back(signature.operands[i].present
                              ? decode(signature.operands[i].dtype, outcome.operands[static_cast<std::size_t>(i)])
                              : Values{});
      look(results);
    }
  }
}

}  // namespace weft::test
