#include "kernels/catalogue.h"

#include <fmt/format.h>

#include <string>

#include "kernels/rung_table.h"

namespace weft {

bool can_run(const Rung& rung, const Problem& problem, int capability) {
  const bool emulated = capability == 0;
  if (!(rung.needs.dtypes & (1u << static_cast<unsigned>(problem.dtype)))) return false;
  if (!emulated && rung.needs.min_capability > capability) return false;
  if (!emulated && rung.needs.exact_capability != 0 && rung.needs.exact_capability != capability) return false;
  if (problem.strict && rung.bound_factor > 1) return false;
  return rung.needs.takes == nullptr || rung.needs.takes(problem);
}

int pick_rung(const Op& op, const Problem& problem, int capability) {
  return pick_rung(op, problem, capability, {});
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
