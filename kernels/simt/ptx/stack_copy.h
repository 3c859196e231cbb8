#pragma once
// A thread's local variables as they were at one moment, to tell afterwards whether an array of them was written since:
// accesses to what stands for registers are not seen, but a change is. Internal to the emulation.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace weft::simt {

/// `count` words from `at`, by no means that a sanitizer would object to: a local variable may be out of its scope.
void copy_words(const std::uint32_t* at, std::size_t count, std::uint32_t* to);

class StackCopy {
 public:
  /// Copies the running thread's stack, from the callers' frames to its top.
  void take();

  /// The first of `count` words from `at` that is not what it was, or nothing. Nothing too where `at` was not on the
  /// copied part of the stack: a variable elsewhere, or of a function that was called later.
  std::optional<std::size_t> first_changed(const void* at, std::size_t count) const;

 private:
  std::uintptr_t from_ = 0;
  std::vector<std::uint32_t> words_;
};

}  // namespace weft::simt
