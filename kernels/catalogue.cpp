#include "kernels/catalogue.h"

#include <fmt/format.h>

#include <string>

namespace weft {

bool can_run(const Rung& rung, const Problem& problem, int capability) {
  const bool emulated = capability == 0;
  if (!(rung.needs.dtypes & (1u << static_cast<unsigned>(problem.dtype)))) return false;
  if (!emulated && rung.needs.min_capability > capability) return false;
  if (!emulated && rung.needs.exact_capability != 0 && rung.needs.exact_capability != capability) return false;
  return rung.needs.takes == nullptr || rung.needs.takes(problem);
}

int pick_rung(const Op& op, const Problem& problem, int capability) {
  if (op.choose != nullptr) {
    const int chosen = op.choose(problem, capability);
    if (chosen >= 0 && can_run(op.rungs[static_cast<std::size_t>(chosen)], problem, capability)) return chosen;
  }
  for (int i = static_cast<int>(op.rungs.size()) - 1; i >= 0; --i) {
    if (can_run(op.rungs[static_cast<std::size_t>(i)], problem, capability)) return i;
  }
  return -1;
}

const char* describe(const Op& op, const Problem& problem, char* buffer, int size) {
  std::string text = op.name;
  for (std::size_t i = 0; i < op.extent_names.size(); ++i)
    text += fmt::format(" {}={}", op.extent_names[i], problem.extents[i]);
  for (std::size_t i = 0; i < op.scalar_names.size(); ++i)
    if (problem.scalars[i] != 0) text += fmt::format(" {}={}", op.scalar_names[i], problem.scalars[i]);
  const auto end = fmt::format_to_n(buffer, size - 1, "{}", text);
  *end.out = '\0';
  return buffer;
}

}  // namespace weft
