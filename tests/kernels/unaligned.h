#pragma once
// Runs a rung on operands that begin one element past a multiple of 16 bytes: what reads several elements at a time
// must notice.

#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/kernels/harness.h"

namespace weft::test {

/// Memory that begins one element past a multiple of 16 bytes.
struct Unaligned {
  std::vector<std::byte> memory;
  std::size_t offset, size;

  Unaligned(const Bytes& bytes, std::size_t element) : memory(bytes.size() + 32), size(bytes.size()) {
    offset = (16 - reinterpret_cast<std::uintptr_t>(memory.data()) % 16) % 16 + element;
    if (size > 0) std::memcpy(data(), bytes.data(), size);
  }
  std::byte* data() { return memory.data() + offset; }
  Bytes bytes() { return Bytes(data(), data() + size); }
};

/// What `rung` writes on simt to dense operands at such addresses.
inline Outcome run_unaligned(const Rung& rung, const Problem& problem, const Signature& signature,
                             const std::vector<Values>& values) {
  std::vector<Unaligned> operands;
  for (int i = 0; i < signature.count; ++i)
    operands.emplace_back(encode(signature.operands[i].dtype, values[static_cast<std::size_t>(i)]),
                          bytes_of(signature.operands[i].dtype));
  void* pointers[kMaxOperands] = {};
  for (int i = 0; i < signature.count; ++i)
    if (signature.operands[i].present) pointers[i] = operands[static_cast<std::size_t>(i)].data();
  std::vector<std::byte> workspace(rung.workspace_bytes ? static_cast<std::size_t>(rung.workspace_bytes(problem)) : 0);
  rung.launch(problem, pointers, workspace.data(), nullptr);
  Outcome outcome;
  for (Unaligned& operand : operands) outcome.operands.push_back(operand.bytes());
  return outcome;
}

}  // namespace weft::test
