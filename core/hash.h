#pragma once
// Tells contents apart, where nobody tries to deceive.

#include <cstddef>
#include <cstdint>

namespace weft {

inline constexpr std::uint64_t kHashStart = 0xCBF29CE484222325u;

/// 64-bit FNV-1a (Fowler, Noll, Vo) over bytes, going on from `hash`.
inline std::uint64_t hash_bytes(const void* data, std::size_t bytes, std::uint64_t hash = kHashStart) {
  const auto* byte = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ byte[i]) * 0x100000001B3u;
  return hash;
}

}  // namespace weft
