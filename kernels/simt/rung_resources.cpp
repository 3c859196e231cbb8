#include "kernels/simt/rung_resources.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "kernels/simt/launches.h"
#include "kernels/targets.h"

namespace weft::simt {
namespace {

constexpr std::size_t kLargestElement = 8;  // bytes, of any type

/// Zeros, which are a 0 in every type, a valid label and a valid index.
class Zeros {
 public:
  explicit Zeros(std::size_t bytes) : memory_(target().allocate(0, bytes)) { target().set_bytes(0, memory_, 0, bytes); }
  Zeros(Zeros&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
  Zeros& operator=(Zeros&&) = delete;
  ~Zeros() { target().release(0, memory_); }

  void* data() const { return memory_; }

 private:
  void* memory_;
};

std::size_t bytes_for(const Operand& operand) {
  std::int64_t elements = 1;
  for (int axis = 0; axis < operand.rank; ++axis)
    elements *= axis + 1 == operand.rank ? std::max(operand.dims[axis], operand.row_pitch) : operand.dims[axis];
  return static_cast<std::size_t>(elements) * kLargestElement;
}

void run_on_zeros(const Op& op, const Rung& rung, const Problem& problem) {
  const Signature signature = op.signature(problem);
  std::vector<Zeros> buffers;
  void* pointers[kMaxOperands] = {};
  for (int i = 0; i < signature.count; ++i) {
    if (!signature.operands[i].present) continue;
    buffers.emplace_back(bytes_for(signature.operands[i]));
    pointers[i] = buffers.back().data();
  }
  const std::int64_t workspace_bytes = rung.workspace_bytes ? rung.workspace_bytes(problem) : 0;
  const Zeros workspace(static_cast<std::size_t>(workspace_bytes));
  rung.launch(problem, pointers, workspace_bytes > 0 ? workspace.data() : nullptr, nullptr);
}

/// "kernels/gemm/8_cp_async.cu:149", wherever the source tree lies.
std::string place_of(const LaunchShape& launch) {
  const std::size_t root = launch.file.rfind("/kernels/");
  return (root == std::string::npos ? launch.file : launch.file.substr(root + 1)) + ":" + std::to_string(launch.line);
}

void add(RungLaunches& sum, const LaunchShape& launch) {
  sum.threads = std::max(sum.threads, launch.threads);
  sum.cluster_blocks = std::max(sum.cluster_blocks, launch.cluster_blocks);
  sum.dynamic_shared_bytes = std::max(sum.dynamic_shared_bytes, launch.dynamic_shared_bytes);
  sum.static_shared_bytes = std::max(sum.static_shared_bytes, launch.static_shared_bytes);
  sum.shared_bytes = std::max(sum.shared_bytes, launch.dynamic_shared_bytes + launch.static_shared_bytes);
}

}  // namespace

std::vector<RungLaunches> rung_launches(const std::function<bool(const Op&)>& wanted) {
  std::vector<RungLaunches> all;
  for (const Op* op : target().catalogue()) {
    if (wanted && !wanted(*op)) continue;
    for (const Rung& rung : op->rungs) {
      LaunchWatch watch;
      for (Problem problem : op->problems)
        for (const DType type : {DType::f32, DType::bf16}) {
          problem.dtype = type;
          if (can_run(rung, problem, 0)) run_on_zeros(*op, rung, problem);
        }
      std::map<std::string, RungLaunches> by_place;
      for (const LaunchShape& launch : watch.stop()) {
        const std::string place = place_of(launch);
        add(by_place.try_emplace(place, RungLaunches{.op = op, .rung = &rung, .place = place}).first->second, launch);
      }
      for (auto& [place, launches] : by_place) all.push_back(std::move(launches));
    }
  }
  return all;
}

std::size_t shared_limit(const Needs& needs) {
  constexpr std::size_t kKiB = 1024;
  if (needs.exact_capability == 90) return 227 * kKiB;
  return (needs.min_capability >= 80 ? 99 : 48) * kKiB;
}

}  // namespace weft::simt
