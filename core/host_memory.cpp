#include "core/host_memory.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

namespace weft {
namespace {

std::optional<std::uint64_t> number_in(const char* path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;  // not there, or the word "max"
}

/// A field of a file of "name value" lines, as memory.stat is.
std::uint64_t field_in(const char* path, const std::string& field) {
  std::ifstream file(path);
  std::string name;
  std::uint64_t number = 0;
  while (file >> name >> number)
    if (name == field) return number;
  return 0;
}

}  // namespace

std::size_t host_memory_available() {
  std::uint64_t available = UINT64_MAX;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);)
    if (line.starts_with("MemAvailable:")) available = std::stoull(line.substr(13)) * 1024;
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (limit && used) {
    // The group's page cache counts as used and is given up under pressure.
    const std::uint64_t cache = field_in("/sys/fs/cgroup/memory.stat", "inactive_file");
    available = std::min(available, *limit - std::min(*limit, *used - std::min(*used, cache)));
  }
  return static_cast<std::size_t>(available);
}

}  // namespace weft
