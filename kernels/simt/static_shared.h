#pragma once
// Poison for `__shared__` variables. A kernel that reads shared memory before writing it must not find the last block's
// values there, so the variables are refilled when a block first passes their declaration. The declaration's macro
// cannot name the variable that follows it; but it can leave a mark, itself a static of the same function, and the
// program's symbol table knows every static of that function: where it lies and how long it is. (A stripped program has
// no such table: there static shared memory keeps its old values, and shared_poison_available() says so.)

#include <cstddef>
#include <cstdint>

#include "kernels/simt/sanitizer.h"

// A block runs on one OS thread, so the block's own memory is that thread's own. AddressSanitizer puts no red zones
// round thread-local variables: under it they are plain statics, and blocks run one after another.
#if WEFT_SIMT_ASAN
#define WEFT_SIMT_BLOCK_STATIC static
#define WEFT_SIMT_SHARED_ALIGNMENT 32  // beyond which clang sets no red zones (g++: 64)
#else
#define WEFT_SIMT_SHARED_ALIGNMENT 128
#define WEFT_SIMT_BLOCK_STATIC static thread_local
#endif

namespace weft::simt {

/// What shared memory holds before a block writes it: NaN as float, double and either half of it as bfloat16, and the
/// largest int.
inline constexpr std::uint32_t kPoison = 0x7fffffff;

/// Fills `bytes` from `memory` with kPoison.
void fill_poison(void* memory, std::size_t bytes);

/// A number for the block that runs on this OS thread; no two blocks of a process share one.
extern thread_local constinit std::uint64_t block_generation;

/// Whether `bytes` from `address` lie in one `__shared__` variable whose declaration this block has passed. True for
/// any address where the symbol table could not be read.
bool in_static_shared(const void* address, std::size_t bytes);

/// Stands before each `__shared__` declaration.
class SharedMark {
 public:
  /// Poisons the function's shared variables where this is the first thread of the block to come by.
  void pass() {
    if (generation_ != block_generation) poison();
  }

 private:
  void poison();

  std::uint64_t generation_ = 0;
  const struct SharedGroup* group_ = nullptr;
};

/// Whether the program's symbol table could be read, without which static shared memory is not poisoned.
bool shared_poison_available();

}  // namespace weft::simt
