// Runs a rung on a target, with every buffer watched.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
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

/// Bytes of an operand's rows, and from the start of one to the start of the next.
struct Rows {
  std::size_t count, length, pitch;

  explicit Rows(const Operand& operand) {
    const std::size_t columns = operand.rank > 0 ? static_cast<std::size_t>(operand.dims[operand.rank - 1]) : 1;
    const std::size_t apart = operand.row_pitch > 0 ? static_cast<std::size_t>(operand.row_pitch) : columns;
    count = columns > 0 ? element_count(operand) / columns : 0;
    length = columns * bytes_of(operand.dtype);
    pitch = apart * bytes_of(operand.dtype);
  }

  /// The last row ends where the operand does, so that what is written behind it meets the sentinels.
  std::size_t bytes() const { return count > 0 ? (count - 1) * pitch + length : 0; }
};

/// Dense rows to rows that lie a pitch apart, poison between them: what a rung reads there is NaN.
Bytes spread(const Rows& rows, const Bytes& dense) {
  if (rows.pitch == rows.length) return dense;
  Bytes bytes(rows.bytes(), std::byte{kPoison});
  for (std::size_t i = 0; i < rows.count; ++i)
    std::copy_n(dense.begin() + static_cast<std::ptrdiff_t>(i * rows.length), rows.length,
                bytes.begin() + static_cast<std::ptrdiff_t>(i * rows.pitch));
  return bytes;
}

/// The way back. `gaps_intact` tells whether there is still poison between the rows.
Bytes gather(const Rows& rows, const Bytes& bytes, bool& gaps_intact) {
  gaps_intact = true;
  if (rows.pitch == rows.length) return bytes;
  Bytes dense;
  dense.reserve(rows.count * rows.length);
  for (std::size_t i = 0; i < rows.count; ++i) {
    const auto row = bytes.begin() + static_cast<std::ptrdiff_t>(i * rows.pitch);
    const auto end = row + static_cast<std::ptrdiff_t>(rows.length);
    dense.insert(dense.end(), row, end);
    if (i + 1 < rows.count)
      gaps_intact &= std::all_of(end, row + static_cast<std::ptrdiff_t>(rows.pitch),
                                 [](std::byte b) { return b == std::byte{kPoison}; });
  }
  return dense;
}

/// Without poison where WEFT_NO_POISON says so: to compute-sanitizer's initcheck poisoned memory is written memory.
bool poisons() {
  static const char* const no = std::getenv("WEFT_NO_POISON");
  return no == nullptr || *no == '\0';
}

/// Device memory with sentinels on both sides.
class Guarded {
 public:
  Guarded(const Device& device, std::size_t bytes) : device_(device), bytes_(bytes) {
    base_ = static_cast<std::byte*>(device_.target.allocate(device_.index, bytes_ + 2 * kGuard));
    if (kGuard > 0) {
      device_.target.set_bytes(device_.index, base_, kSentinel, kGuard);
      device_.target.set_bytes(device_.index, base_ + kGuard + bytes_, kSentinel, kGuard);
    }
    if (bytes_ > 0 && poisons()) device_.target.set_bytes(device_.index, data(), kPoison, bytes_);
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
    const Rows rows(operand);
    buffers[i] = std::make_unique<Guarded>(device, rows.bytes());
    if (operand.role != Role::output) buffers[i]->write(spread(rows, before[i] = encode(operand.dtype, operands[i])));
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
    bool gaps_intact = true;
    outcome.operands[i] = gather(Rows(operand), buffers[i]->read(), gaps_intact);
    if (!gaps_intact) outcome.complaints.push_back(fmt::format("wrote between the rows of {}", operand.name));
    if (!buffers[i]->intact()) outcome.complaints.push_back(fmt::format("wrote outside {}", operand.name));
    if (operand.role == Role::input && outcome.operands[i] != before[i])
      outcome.complaints.push_back(fmt::format("changed its input {}", operand.name));
  }
  return outcome;
}

}  // namespace weft::test
