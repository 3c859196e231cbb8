#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <tuple>

#include "kernels/error.h"
#include "tests/mutation/mutants.h"

namespace weft::test {
namespace {

// A whole list of mutants runs each case that comes by its site under three seeds.
constexpr double kMostFlops = 2e7;
constexpr std::uint64_t kSeeds[] = {0, 1, 2};

const Device kSimt = {simt::target()};

class ScheduleSeed {
 public:
  explicit ScheduleSeed(std::uint64_t seed) : before_(simt::schedule_seed()) { simt::set_schedule_seed(seed); }
  ScheduleSeed(const ScheduleSeed&) = delete;
  ScheduleSeed& operator=(const ScheduleSeed&) = delete;
  ~ScheduleSeed() { simt::set_schedule_seed(before_); }

 private:
  std::uint64_t before_;
};

/// Gives one site its fault for a scope.
class With {
 public:
  explicit With(const Mutant& mutant) {
    simt::set_site_fault(mutant.fault, mutant.site.file, mutant.site.line, mutant.site.what);
  }
  With(const With&) = delete;
  With& operator=(const With&) = delete;
  ~With() { simt::clear_site_faults(); }
};

/// What can be wrong with a site, for its WHAT in survivors.txt.
std::vector<simt::SiteFault> faults_of(const simt::SyncSite& site) {
  using enum simt::SiteFault;
  if (!site.names_phase) return {left_out};
  return {left_out, phase_stuck, phase_inverted};
}

Outcome run(const MutationCase& at) {
  return run_rung(kSimt, *at.rung, at.problem, at.signature, at.operands);
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// A path from the project's root; compilers name files from there or from the build folder below it.
std::string within_project(const std::string& file) {
  const std::string root = WEFT_SOURCE_ROOT "/";
  if (file.compare(0, root.size(), root) == 0) return file.substr(root.size());
  std::size_t at = 0;
  while (file.compare(at, 3, "../") == 0) at += 3;
  return file.substr(at);
}

/// Names a mutant by its line's text, and by which of several such lines it is.
class MutantNames {
 public:
  std::string key(const Mutant& mutant) {
    const simt::SyncSite& site = mutant.site;
    const std::string file = within_project(site.file);
    const std::vector<std::string>& lines = lines_of(file);
    const auto line = static_cast<std::size_t>(site.line);
    if (line < 1 || line > lines.size()) fail(fmt::format("{} has no line {}", file, site.line));
    const std::string& text = lines[line - 1];
    const auto same = std::count(lines.begin(), lines.begin() + site.line, text);
    const auto all = std::count(lines.begin(), lines.end(), text);
    return fmt::format("{} | {} | {}{}", file, mutant.what(), text, all > 1 ? fmt::format(" (no. {})", same) : "");
  }

 private:
  const std::vector<std::string>& lines_of(const std::string& file) {
    const auto known = lines_.find(file);
    if (known != lines_.end()) return known->second;
    std::ifstream stream(std::string(WEFT_SOURCE_ROOT "/") + file);
    if (!stream) fail(fmt::format("{}: cannot read the source of a site", file));
    std::vector<std::string>& lines = lines_[file];
    for (std::string line; std::getline(stream, line);) lines.push_back(trimmed(line));
    return lines;
  }

  std::map<std::string, std::vector<std::string>> lines_;
};

std::vector<MutationCase> draw_cases(std::size_t cases_per_rung) {
  const Catalogue catalogue = simt::target().catalogue();
  std::vector<MutationCase> cases;
  for (const Op* op : catalogue) {
    if (!op_selected(op->name)) continue;
    const auto cheaper = [op](const Problem& a, const Problem& b) { return op->flops(a) < op->flops(b); };
    for (const Rung& rung : op->rungs) {
      std::vector<Problem> problems;
      for (Problem problem : op->problems) {
        for (const DType type : {DType::f32, DType::bf16}) {
          problem.dtype = type;
          if (can_run(rung, problem, 0) && op->flops(problem) <= kMostFlops) problems.push_back(problem);
        }
      }
      std::stable_sort(problems.begin(), problems.end(), cheaper);
      const std::size_t count = std::min(problems.size(), cases_per_rung);
      for (std::size_t i = 1; i <= count; ++i) {  // spread evenly, the dearest among them
        // Of a sample the first is not of the cheapest, but has the longest sums: in it a ring of stages goes round.
        const bool deepest = i == 1 && count < problems.size() && op->bound.terms != nullptr;
        const auto shorter = [op](const Problem& a, const Problem& b) {
          return op->bound.terms(a) < op->bound.terms(b);
        };
        const Problem& problem = deepest ? *std::max_element(problems.begin(), problems.end(), shorter)
                                         : problems[i * problems.size() / count - 1];
        cases.push_back({op,
                         &rung,
                         problem,
                         op->signature(problem),
                         draw_operands(catalogue, *op, problem, Draw::random, true),
                         {}});
      }
    }
  }
  std::stable_sort(cases.begin(), cases.end(), [](const MutationCase& a, const MutationCase& b) {
    return a.op->flops(a.problem) < b.op->flops(b.problem);
  });
  return cases;
}

}  // namespace

std::vector<std::string> synchronisations_in_source() {
  // As kernels call them, and not __syncthreads() of a comment, or of a wrapper's name in kernels/ptx.
  static const std::regex call(
      R"(\b(__syncthreads|__syncwarp|named_barrier_(sync|arrive)|cluster_(sync|arrive|arrive_relaxed|wait)|)"
      R"(mbarrier_(init|wait|arrive|arrive_expect_tx|arrive_cluster|arrive_cluster_relaxed)|fence_[a-z_]+|)"
      R"(cp_async_(commit_group|wait_group|wait_all)|bulk_(commit_group|wait_group|wait_group_read)|)"
      R"(wgmma_(fence|commit_group|wait_group)|set_max_registers_(inc|dec))(<[^>()]*>)?\()");
  const std::filesystem::path root = WEFT_SOURCE_ROOT;
  std::vector<std::string> places;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "kernels")) {
    const std::filesystem::path file = entry.path().lexically_relative(root);
    const std::string folder = std::next(file.begin())->string();
    if (folder == "ptx" || folder == "simt" || (file.extension() != ".cu" && file.extension() != ".h")) continue;
    std::ifstream stream(entry.path());
    std::string line;
    for (int number = 1; std::getline(stream, line); ++number) {
      const std::string code = line.substr(0, line.find("//"));
      if (std::regex_search(code, call)) places.push_back(fmt::format("{}:{}", file.generic_string(), number));
    }
  }
  std::sort(places.begin(), places.end());
  return places;
}

std::string place_of(const simt::SyncSite& site) {
  return fmt::format("{}:{}", within_project(site.file), site.line);
}

std::string MutationCase::name() const {
  char text[256];
  return fmt::format("{}/{} {} {}", op->name, rung->name, name_of(problem.dtype),
                     describe(*op, problem, text, sizeof text));
}

std::string Mutant::what() const {
  switch (fault) {
    case simt::SiteFault::phase_stuck:
      return site.what + ", phase stuck";
    case simt::SiteFault::phase_inverted:
      return site.what + ", phase inverted";
    default:
      return site.what;
  }
}

MutationPlan plan_mutants(std::size_t cases_per_rung) {
  MutationPlan plan{draw_cases(cases_per_rung), {}};
  MutantNames names;
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    MutationCase& at = plan.cases[i];
    simt::forget_sync_sites();
    for (const std::uint64_t seed : kSeeds) {
      const ScheduleSeed order(seed);
      Outcome outcome = run(at);
      if (!outcome.complaints.empty()) fail(fmt::format("{}: {}", at.name(), outcome.complaints[0]));
      if (seed == kSeeds[0])
        at.expected = std::move(outcome.operands);
      else if (outcome.operands != at.expected)
        fail(fmt::format("{}: other bits under seed {}", at.name(), seed));
    }
    for (const simt::SyncSite& site : simt::sync_sites()) {
      for (const simt::SiteFault fault : faults_of(site)) {
        const auto known = std::find_if(plan.mutants.begin(), plan.mutants.end(), [&](const Mutant& mutant) {
          return mutant.site == site && mutant.fault == fault;
        });
        if (known != plan.mutants.end()) {
          known->cases.push_back(i);
          continue;
        }
        Mutant& mutant = plan.mutants.emplace_back(Mutant{site, fault, "", {i}});
        mutant.key = names.key(mutant);
      }
    }
  }
  std::sort(plan.mutants.begin(), plan.mutants.end(), [](const Mutant& a, const Mutant& b) {
    return std::tie(a.fault, a.site.file, a.site.line, a.site.what) <
           std::tie(b.fault, b.site.file, b.site.line, b.site.what);
  });
  return plan;
}

std::string try_mutant(const MutationPlan& plan, const Mutant& mutant) {
  const With fault(mutant);
  for (const std::size_t i : mutant.cases) {
    for (const std::uint64_t seed : kSeeds) {
      const ScheduleSeed order(seed);
      const Outcome outcome = run(plan.cases[i]);
      const auto evidence = [&](const std::string& what) {
        return fmt::format("{} (seed {} of {})", what, seed, plan.cases[i].name());
      };
      if (!outcome.complaints.empty()) return evidence(outcome.complaints[0]);
      if (outcome.operands != plan.cases[i].expected) return evidence("another result");
    }
  }
  return "";
}

std::vector<Survivor> read_survivors(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail(fmt::format("{}: cannot be read", path));
  std::vector<Survivor> survivors;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    line = trimmed(line);
    if (line.empty() || line[0] == '#') continue;
    const std::size_t bar = line.rfind(" | ");
    int bars = 0;
    for (std::size_t at = line.find(" | "); at != std::string::npos; at = line.find(" | ", at + 3)) ++bars;
    if (bars < 3) fail(fmt::format("{}:{}: a line is FILE | WHAT | SOURCE LINE | REASON", path, number));
    survivors.push_back({trimmed(line.substr(0, bar)), trimmed(line.substr(bar + 3))});
  }
  return survivors;
}

}  // namespace weft::test
