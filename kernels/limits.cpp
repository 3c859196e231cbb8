#include "kernels/limits.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kernels/error.h"

namespace weft {
namespace {

/// `value`, or what the environment's `name` says where that is less.
std::int64_t lowered(std::int64_t value, const char* name) {
  const char* const text = std::getenv(name);
  if (text == nullptr || *text == '\0') return value;
  const std::string_view whole = text;
  std::int64_t limit = 0;
  const auto [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), limit);
  if (error != std::errc{} || end != whole.data() + whole.size() || limit < 1)
    fail(std::string(name) + "=" + text + ": wants a whole number of 1 or more");
  return std::min(value, limit);
}

}  // namespace

int multiprocessors_to_use(int count) {
  return static_cast<int>(lowered(count, "WEFT_MULTIPROCESSORS"));
}

std::int64_t part_bytes_to_use(std::int64_t bytes) {
  return lowered(bytes, "WEFT_PART_BYTES");
}

}  // namespace weft
