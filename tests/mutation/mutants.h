#pragma once
// Mutation testing of synchronisation: the list of places where the rungs synchronise, each given a fault in turn, and
// whether any run then shows it. Every place is left out; a wait that names a phase of an mbarrier also gets a phase
// that never flips, and one that is inverted.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/catalogue.h"
#include "kernels/simt/machine.h"
#include "tests/kernels/harness.h"

namespace weft::test {

/// One run that a mutant may fail: a rung on a small shape.
struct MutationCase {
  const Op* op;
  const Rung* rung;
  Problem problem;
  Signature signature;
  std::vector<Values> operands;
  std::vector<Bytes> expected;  ///< what the rung writes where nothing is left out; the same under every seed
  std::string name() const;
};

/// A synchronisation with a fault, and the cases that come by it.
struct Mutant {
  simt::SyncSite site;
  simt::SiteFault fault;
  std::string key;  ///< "kernels/gemm/9_mma_sync.cu | __syncthreads | __syncthreads();", whatever its line's number
  std::vector<std::size_t> cases;
  std::string what()
      const;  ///< "__syncthreads"; of another fault than left_out "mbarrier.try_wait.parity, phase stuck"
};

struct MutationPlan {
  std::vector<MutationCase> cases;  ///< cheapest first
  std::vector<Mutant> mutants;      ///< by fault, file and line
};

/// Runs every rung on its op's small shapes, and lists the sites that they come by; of a rung at most `cases_per_rung`,
/// from the cheapest to the dearest, with the longest sums among them. Throws weft::Error where an unmutated run fails
/// or its bits depend on the seed.
MutationPlan plan_mutants(std::size_t cases_per_rung);

/// How the mutant was found out ("another result (seed 1 of gemm/mma-sync bf16 M=31 ...)"), or empty: it survived.
std::string try_mutant(const MutationPlan& plan, const Mutant& mutant);

/// Every line of kernels/ that calls for a synchronisation, "kernels/gemm/9_mma_sync.cu:47", sorted: what the list of
/// mutants must have. Their wrappers (kernels/ptx/) and the machine (kernels/simt/) are left out.
std::vector<std::string> synchronisations_in_source();
/// Where a site is, in the same form.
std::string place_of(const simt::SyncSite& site);

/// One line of survivors.txt: a mutant that no run can find out, and why that is right.
struct Survivor {
  std::string key;
  std::string reason;
};
/// Throws weft::Error with the line where one is no `key | reason`.
std::vector<Survivor> read_survivors(const std::string& path);

}  // namespace weft::test
