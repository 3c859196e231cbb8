// Runs a rung on a target, with every buffer watched.

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <memory>

#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

// Under AddressSanitizer nothing is put round a buffer, so that its own watch begins at the first byte past the end.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kGuard = 0;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::size_t kGuard = 0;
#else
constexpr std::size_t kGuard = 256;
#endif
#else
constexpr std::size_t kGuard = 256;
#endif
constexpr int kSentinel = 0xA5;
constexpr int kPoison = 0xFF;  // a NaN in every floating-point type, -1 in every integer

/// Device memory with sentinels on both sides.
class Guarded {
 public:
  Guarded(const Device& device, std::size_t bytes) : device_(device), bytes_(bytes) {
    base_ = static_cast<std::byte*>(device_.target.allocate(device_.index, bytes_ + 2 * kGuard));
    if (kGuard > 0) {
      device_.target.set_bytes(device_.index, base_, kSentinel, kGuard);
      device_.target.set_bytes(device_.index, base_ + kGuard + bytes_, kSentinel, kGuard);
    }
    if (bytes_ > 0) device_.target.set_bytes(device_.index, data(), kPoison, bytes_);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { device_.target.release(device_.index, base_); }

  std::byte* data() const { return base_ + kGuard; }

  void write(const Bytes& bytes) const {
    if (!bytes.empty()) device_.target.copy_in(device_.index, data(), bytes.data(), bytes.size());
  }

  Bytes read() const {
    Bytes bytes(bytes_);
    if (bytes_ > 0) device_.target.copy_out(device_.index, bytes.data(), data(), bytes_);
    return bytes;
  }

  bool intact() const {
    if (kGuard == 0) return true;
    Bytes guards(2 * kGuard);
    device_.target.copy_out(device_.index, guards.data(), base_, kGuard);
    device_.target.copy_out(device_.index, guards.data() + kGuard, base_ + kGuard + bytes_, kGuard);
    return std::all_of(guards.begin(), guards.end(), [](std::byte b) { return b == std::byte{kSentinel}; });
  }

 private:
  Device device_;
  std::size_t bytes_;
  std::byte* base_;
};

}  // namespace

Outcome run_rung(const Device& device, const Rung& rung, const Problem& problem, const Signature& signature,
                 const std::vector<Values>& operands) {
  Outcome outcome;
  std::vector<std::unique_ptr<Guarded>> buffers(operands.size());
  std::vector<Bytes> before(operands.size());
  void* pointers[kMaxOperands] = {};
  for (int i = 0; i < signature.count; ++i) {
    const Operand& operand = signature.operands[i];
    if (!operand.present) continue;
    buffers[i] = std::make_unique<Guarded>(device, element_count(operand) * bytes_of(operand.dtype));
    if (operand.role != Role::output) buffers[i]->write(before[i] = encode(operand.dtype, operands[i]));
    pointers[i] = buffers[i]->data();
  }
  const std::int64_t workspace_bytes = rung.workspace_bytes ? rung.workspace_bytes(problem) : 0;
  const Guarded workspace(device, static_cast<std::size_t>(workspace_bytes));
  try {
    rung.launch(problem, pointers, workspace_bytes > 0 ? workspace.data() : nullptr, nullptr);
    device.target.synchronize(device.index);
  } catch (const std::exception& error) {
    outcome.complaints.push_back(error.what());
  }
  if (!workspace.intact()) outcome.complaints.push_back("wrote outside its workspace");
  outcome.operands.resize(operands.size());
  for (int i = 0; i < signature.count; ++i) {
    const Operand& operand = signature.operands[i];
    if (!operand.present) continue;
    outcome.operands[i] = buffers[i]->read();
    if (!buffers[i]->intact()) outcome.complaints.push_back(fmt::format("wrote outside {}", operand.name));
    if (operand.role == Role::input && outcome.operands[i] != before[i])
      outcome.complaints.push_back(fmt::format("changed its input {}", operand.name));
  }
  return outcome;
}

}  // namespace weft::test
