// The simt target as plain data: its memory is the host's.
#include "kernels/targets.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/error.h"
#include "kernels/simt/machine.h"

namespace weft::simt {

std::span<const Op* const> catalogue();

namespace {

int device_count() {
  return 1;
}

const char* describe(int) {
  static const std::string text = fmt::format("the SIMT machine: every kernel as C++, blocks over {} OS thread{}",
                                              thread_count(), thread_count() == 1 ? "" : "s");
  return text.c_str();
}

int capability(int) {
  return 0;
}

void memory(int, std::size_t* free_bytes, std::size_t* total_bytes) {
  struct sysinfo info {};
  sysinfo(&info);
  *free_bytes = (std::size_t{info.freeram} + info.bufferram) * info.mem_unit;
  *total_bytes = std::size_t{info.totalram} * info.mem_unit;
}

void* allocate(int, std::size_t bytes) {
  void* pointer = nullptr;  // as aligned as cudaMalloc's
  if (posix_memalign(&pointer, 256, bytes ? bytes : 1) != 0) fail(fmt::format("simt: no memory for {} bytes", bytes));
  return pointer;
}

void release(int, void* pointer) noexcept {
  std::free(pointer);
}

void copy(int, void* to, const void* from, std::size_t bytes) {
  if (bytes) std::memcpy(to, from, bytes);
}

void set_bytes(int, void* pointer, int value, std::size_t bytes) {
  if (bytes) std::memset(pointer, value, bytes);
}

void synchronize(int) {}

constexpr Target kTarget = {"simt",  catalogue, device_count, describe, capability, memory,     allocate,
                            release, copy,      copy,         copy,     set_bytes,  synchronize};

}  // namespace

const Target& target() {
  return kTarget;
}

}  // namespace weft::simt
