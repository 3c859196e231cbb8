#include "bench/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "kernels/error.h"
#include "kernels/philox.h"
#include "tests/kernels/harness.h"

namespace weft::bench {
namespace {

constexpr int kPoison = 0xFF;  // a NaN in every floating-point type, -1 in every integer
// A prime, so that a tensor which takes more numbers than the pool holds meets them again at no power of two.
constexpr std::size_t kPoolSize = 4194301;
constexpr int kMostSets = 64;

/// Random numbers of one kind, drawn once and cut from: drawing each of a hundred million elements would take longer
/// than all measurements of a run.
const test::Bytes& pool(Fill fill, DType dtype, std::int64_t limit, std::size_t at_least) {
  static std::map<std::tuple<Fill, DType, std::int64_t>, test::Bytes> pools;
  test::Bytes& bytes = pools[{fill, dtype, fill == Fill::labels ? limit : 0}];
  const std::size_t wanted = std::min(at_least, kPoolSize);
  const std::size_t width = test::bytes_of(dtype);
  if (bytes.size() >= wanted * width) return bytes;
  const std::size_t count = wanted < (1U << 16) ? (1U << 16) + 1 : kPoolSize;
  test::Values values(count);
  Philox random(7, static_cast<std::uint64_t>(fill) * 16 + static_cast<std::uint64_t>(dtype));
  for (double& value : values) {
    switch (fill) {
      case Fill::positive:
        value = 0.5 + random.uniform();
        break;
      case Fill::labels:
        value = random.below(static_cast<std::uint32_t>(limit));
        break;
      case Fill::pixels:
        value = random.below(256);
        break;
      default:
        value = random.normal();
    }
    if (fill == Fill::away) value += std::copysign(0.1, value);
    if (!test::is_float(dtype) && fill == Fill::normal) value = std::round(10 * value);
    value = test::round_to(dtype, value);
  }
  return bytes = test::encode(dtype, values);
}

}  // namespace

std::size_t operand_bytes(const Operand& operand) {
  return operand.present ? test::element_count(operand) * test::bytes_of(operand.dtype) : 0;
}

Memory::Memory(const Place& place, std::size_t bytes)
    : place_(place), data_(place.target->allocate(place.index, bytes)), bytes_(bytes) {}

Memory::~Memory() {
  place_.target->release(place_.index, data_);
}

struct Call::Set {
  std::vector<std::unique_ptr<Memory>> memory;
  std::vector<std::unique_ptr<Memory>> first;  ///< what an in-out held at first, by operand; null for the others
  void* operands[kMaxOperands] = {};
  void* forward[kMaxOperands] = {};  ///< of the forward op, where this one is its gradient
};

Call::~Call() = default;

Call::Call(const Place& place, const Op& op, const Problem& problem, std::size_t cache_bytes, Stream stream)
    : place_(place), op_(op), problem_(problem), signature_(op.signature(problem)) {
  if (op.check != nullptr) op.check(problem);
  const auto derived = [](const Operand& o) { return o.present && o.fill == Fill::derived && o.role == Role::input; };
  if (std::any_of(signature_.operands, signature_.operands + signature_.count, derived)) {
    forward_ = test::find_op(place.target->catalogue(), op.gradient_of);
    if (forward_ == nullptr) fail(fmt::format("bench: {} derives operands of an op that is not there", op.name));
    forward_signature_ = forward_->signature(problem);
  }
  std::size_t bytes = 1;
  for (int i = 0; i < signature_.count; ++i) bytes += operand_bytes(signature_.operands[i]);
  const std::size_t sets = std::clamp<std::size_t>(3 * cache_bytes / bytes + 1, 1, kMostSets);
  for (std::size_t i = 0; i < sets; ++i) {
    sets_.push_back(std::make_unique<Set>());
    fill(*sets_.back(), static_cast<int>(i), stream);
    reset(static_cast<int>(i));
  }
}

void* Call::fresh(Set& set, const Operand& operand, int index) const {
  set.memory.push_back(std::make_unique<Memory>(place_, operand_bytes(operand)));
  void* const to = set.memory.back()->data();
  if (operand.role == Role::output) return to;
  const std::size_t count = test::element_count(operand), width = test::bytes_of(operand.dtype);
  const test::Bytes& numbers = pool(operand.fill, operand.dtype, operand.limit, count);
  const std::size_t size = numbers.size() / width;
  // Where in the pool a tensor begins: by its name and its set.
  std::size_t at = (subsequence_of(operand.name) + static_cast<std::size_t>(index) * 1000003) % size;
  for (std::size_t done = 0; done < count; at = 0) {
    const std::size_t part = std::min(count - done, size - at);
    place_.target->copy_in(place_.index, static_cast<std::byte*>(to) + done * width, &numbers[at * width],
                           part * width);
    done += part;
  }
  return to;
}

void Call::fill(Set& set, int index, Stream stream) {
  set.first.resize(static_cast<std::size_t>(signature_.count));
  for (int i = 0; i < signature_.count; ++i) {
    const Operand& operand = signature_.operands[i];
    if (!operand.present || (operand.fill == Fill::derived && operand.role == Role::input)) continue;
    set.operands[i] = fresh(set, operand, index);
    if (operand.role != Role::inout) continue;
    set.first[static_cast<std::size_t>(i)] = std::make_unique<Memory>(place_, operand_bytes(operand));
    place_.target->copy(place_.index, set.first[static_cast<std::size_t>(i)]->data(), set.operands[i],
                        operand_bytes(operand));
  }
  if (forward_ == nullptr) return;
  // The forward op reads this op's inputs where both have an operand of that name, and gives what is derived.
  for (int i = 0; i < forward_signature_.count; ++i) {
    const Operand& operand = forward_signature_.operands[i];
    if (!operand.present) continue;
    const int mine = test::find_operand(signature_, operand.name);
    const bool shared = operand.role == Role::input && mine >= 0 && set.operands[mine] != nullptr;
    set.forward[i] = shared ? set.operands[mine] : fresh(set, operand, index);
  }
  const int rung = pick_rung(*forward_, problem_, place_.capability);
  if (rung < 0)
    fail(fmt::format("bench: no rung of {} runs here, and {} needs what it computes", forward_->name, op_.name));
  const Rung& chosen = forward_->rungs[static_cast<std::size_t>(rung)];
  const Memory workspace(place_,
                         static_cast<std::size_t>(chosen.workspace_bytes ? chosen.workspace_bytes(problem_) : 0));
  chosen.launch(problem_, set.forward, workspace.data(), stream);
  place_.target->synchronize(place_.index);
  for (int i = 0; i < signature_.count; ++i) {
    const Operand& operand = signature_.operands[i];
    if (!operand.present || operand.fill != Fill::derived || operand.role != Role::input) continue;
    const int source = test::find_operand(forward_signature_, operand.name);
    if (source < 0) fail(fmt::format("bench: {} has no operand {} to derive", forward_->name, operand.name));
    set.operands[i] = set.forward[source];
  }
}

void* const* Call::operands(int set) const {
  return sets_[static_cast<std::size_t>(set)]->operands;
}

void* Call::find(int set, const std::string& name) const {
  const Set& here = *sets_[static_cast<std::size_t>(set)];
  if (const int mine = test::find_operand(signature_, name); mine >= 0) return here.operands[mine];
  if (forward_ == nullptr) return nullptr;
  const int theirs = test::find_operand(forward_signature_, name);
  return theirs < 0 ? nullptr : here.forward[theirs];
}

void Call::reset(int index) const {
  const Set& set = *sets_[static_cast<std::size_t>(index)];
  for (int i = 0; i < signature_.count; ++i) {
    const Operand& operand = signature_.operands[i];
    if (!operand.present || operand.role == Role::input) continue;
    if (operand.role == Role::output)
      place_.target->set_bytes(place_.index, set.operands[i], kPoison, operand_bytes(operand));
    else
      place_.target->copy(place_.index, set.operands[i], set.first[static_cast<std::size_t>(i)]->data(),
                          operand_bytes(operand));
  }
}

bool Call::has_inout() const {
  return std::any_of(signature_.operands, signature_.operands + signature_.count,
                     [](const Operand& o) { return o.present && o.role == Role::inout; });
}

}  // namespace weft::bench
