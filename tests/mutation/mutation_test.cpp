// Each synchronisation of the kernels, left out, must show; so must each wait for an mbarrier's phase whose parity
// never flips, or is inverted.
//
// The list of mutants is generated: every site that a run comes by (kernels/simt/machine.h: sync_sites()), with every
// fault that it can have; and every line of the source that synchronises has to be such a site. Without further ado a
// fixed sample of them is tried: some of what can be left out, and every phase; WEFT_MUTANTS=all, or `ctest --preset
// mutants`, tries them all (those of the ops in WEFT_OPS, where that is set: WEFT_OPS=softmax,sum; a helper's mutant
// may then want another op to show). A mutant that no run finds out has to stand in survivors.txt with the reason why
// the fault changes nothing.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <set>
#include <string>

#include "tests/mutation/mutants.h"

namespace weft::test {
namespace {

// Of a sample: mutants left out, and runs of each rung.
constexpr std::size_t kSample = 24, kSampleCases = 8;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool names_clause(const Survivor& survivor) {
  return survivor.reason.starts_with("PTX ISA, ") || survivor.reason.starts_with("CUDA C++ Programming Guide, ");
}

bool try_all() {
  const char* setting = std::getenv("WEFT_MUTANTS");
  return setting != nullptr && std::string(setting) == "all";
}

TEST_CASE("mutants: a synchronisation with a fault is found out, or listed with its reason") {
  auto start = std::chrono::steady_clock::now();
  const bool all = try_all();
  const std::vector<Survivor> survivors = read_survivors(WEFT_SOURCE_ROOT "/tests/mutation/survivors.txt");
  const MutationPlan plan = plan_mutants(all ? std::numeric_limits<std::size_t>::max() : kSampleCases);
  fmt::print("{} mutants from {} runs, listed in {:.1f} s\n", plan.mutants.size(), plan.cases.size(),
             seconds_since(start));
  REQUIRE(!plan.mutants.empty());
  for (const Survivor& survivor : survivors)
    CHECK_MESSAGE(names_clause(survivor), "its reason does not begin with a clause (survivors.txt): ", survivor.key);

  if (std::getenv("WEFT_OPS") == nullptr) {
    std::set<std::string> met;
    for (const Mutant& mutant : plan.mutants) met.insert(place_of(mutant.site));
    const std::vector<std::string> places = synchronisations_in_source();
    CHECK(places.size() >= 50);  // else the search has gone wrong
    for (const std::string& place : places)
      CHECK_MESSAGE(met.count(place) == 1, "a synchronisation that no run comes by, and so none can miss: ", place);
  }

  const auto left_out =
      static_cast<std::size_t>(std::count_if(plan.mutants.begin(), plan.mutants.end(), [](const Mutant& mutant) {
        return mutant.fault == simt::SiteFault::left_out;
      }));
  if (std::getenv("WEFT_OPS") == nullptr) CHECK(left_out < plan.mutants.size());
  const std::size_t step = all ? 1 : std::max<std::size_t>(1, left_out / kSample);
  std::size_t tried = 0, found = 0;
  start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < plan.mutants.size(); i = i < left_out ? std::min(i + step, left_out) : i + 1) {
    const Mutant& mutant = plan.mutants[i];
    const auto listed = std::find_if(survivors.begin(), survivors.end(),
                                     [&](const Survivor& survivor) { return survivor.key == mutant.key; });
    if (!all && listed != survivors.end()) continue;  // it would run every case there is
    const auto begin = std::chrono::steady_clock::now();
    const std::string evidence = try_mutant(plan, mutant);
    ++tried;
    found += !evidence.empty();
    fmt::print("{:6.2f} s  {}:{}  {}\n          {}\n", seconds_since(begin), mutant.site.file, mutant.site.line,
               mutant.what(), evidence.empty() ? "SURVIVES" : evidence.substr(0, 160));
    if (evidence.empty())
      CHECK_MESSAGE(listed != survivors.end(), "survives, and is not in survivors.txt: ", mutant.key);
    else
      CHECK_MESSAGE(listed == survivors.end(), "listed in survivors.txt, but found out: ", mutant.key);
  }
  fmt::print("{} of {} mutants tried, {} found out, in {:.1f} s\n", tried, plan.mutants.size(), found,
             seconds_since(start));
  if (!all || std::getenv("WEFT_OPS") != nullptr) return;
  for (const Survivor& survivor : survivors) {
    const bool known = std::any_of(plan.mutants.begin(), plan.mutants.end(),
                                   [&](const Mutant& mutant) { return mutant.key == survivor.key; });
    CHECK_MESSAGE(known, "listed in survivors.txt, but no such site: ", survivor.key);
  }
}

}  // namespace
}  // namespace weft::test
