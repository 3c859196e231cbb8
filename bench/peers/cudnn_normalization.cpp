// Batch norm and pooling through cuDNN's op functions, on NHWC tensors.

#include "bench/peers/cudnn.h"
#include "kernels/ops.h"

namespace weft::bench {
namespace {

/// cuDNN divides by the count that it finds; which way of giving it (rows, C) is fastest is tried.
struct BatchNormTensors {
  CudnnTensor x, channels;
  BatchNormTensors(const Cudnn& cudnn, DType dtype, std::array<std::int64_t, 4> nchw)
      : x(cudnn, dtype, nchw), channels(cudnn, DType::f32, {1, nchw[1], 1, 1}) {}
};

struct Extra {
  std::unique_ptr<Memory> workspace, reserve;
};

constexpr float kOne = 1, kZero = 0;

}  // namespace

std::optional<PeerCall> cudnn_normalization(const Cudnn& cudnn, const std::string& function, const Call& call,
                                            Clock& clock) {
  using extents::BatchNorm;
  const bool train = function == "batch_norm_forward_training", eval = function == "batch_norm_forward_inference";
  const bool backward = function == "batch_norm_backward";
  if (!train && !eval && !backward) return {};
  const Problem& problem = call.problem();
  const bool residual = problem.extents[BatchNorm::has_residual] != 0, relu = problem.extents[BatchNorm::relu] != 0;
  // Fused, cuDNN's forward writes the ReLU's mask besides, a bit an element, into a reserve, and its backward takes
  // that where ours takes y: the forward corresponds but for that bit, the backward does not. An add without a ReLU it
  // does not fuse, nor anything in inference.
  const bool fused = residual || relu;
  if (fused && !(train && relu)) return {};
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const double eps = problem.scalars[BatchNorm::eps], momentum = problem.scalars[BatchNorm::momentum];
  const auto& f = cudnn.f;
  const auto ops = !fused     ? CUDNN_BATCHNORM_OPS_BN
                   : residual ? CUDNN_BATCHNORM_OPS_BN_ADD_ACTIVATION
                              : CUDNN_BATCHNORM_OPS_BN_ACTIVATION;
  const auto activation = fused ? cudnn_relu(cudnn, problem.scalars[BatchNorm::ceiling]) : nullptr;
  const cudnnActivationDescriptor_t act = fused ? activation->get() : nullptr;
  CudnnChoice choice(cudnn, clock);
  for (const auto mode : {CUDNN_BATCHNORM_SPATIAL_PERSISTENT, CUDNN_BATCHNORM_SPATIAL}) {
    for (const bool wide : {false, true}) {
      const auto t = std::make_shared<BatchNormTensors>(
          cudnn, problem.dtype,
          wide ? std::array<std::int64_t, 4>{1, C, 1, rows} : std::array<std::int64_t, 4>{rows, C, 1, 1});
      const auto at = [&call](int set, const char* name) { return call.find(set, name); };
      const std::string name = fmt::format("{}, {}", mode == CUDNN_BATCHNORM_SPATIAL ? "spatial" : "spatial persistent",
                                           wide ? "one picture" : "a picture a row");
      if (eval) {
        choice.consider(name, [&cudnn, t, mode, at, eps](int set) {
          return cudnn.f.cudnnBatchNormalizationForwardInference(
              cudnn.handle, mode, &kOne, &kZero, t->x, at(set, "x"), t->x, at(set, "y"), t->channels, at(set, "weight"),
              at(set, "bias"), at(set, "running_mean"), at(set, "running_var"), eps);
        });
        continue;
      }
      std::size_t workspace = 0, reserve = 0;
      const cudnnTensorDescriptor_t z = residual ? static_cast<cudnnTensorDescriptor_t>(t->x) : nullptr;
      const cudnnStatus_t sized =
          train ? f.cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnn.handle, mode, ops, t->x, z, t->x,
                                                                             t->channels, act, &workspace)
                : f.cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnn.handle, mode, ops, t->x, nullptr, t->x,
                                                                      nullptr, t->x, t->channels, nullptr, &workspace);
      if (sized != CUDNN_STATUS_SUCCESS || f.cudnnGetBatchNormalizationTrainingExReserveSpaceSize(
                                               cudnn.handle, mode, ops, act, t->x, &reserve) != CUDNN_STATUS_SUCCESS)
        continue;
      const auto extra = std::make_shared<Extra>();
      extra->workspace = std::make_unique<Memory>(call.place(), workspace);
      extra->reserve = std::make_unique<Memory>(call.place(), reserve);
      if (train)
        choice.consider(name, [&cudnn, t, mode, at, eps, momentum, extra, ops, z, residual, activation, act](int set) {
          return cudnn.f.cudnnBatchNormalizationForwardTrainingEx(
              cudnn.handle, mode, ops, &kOne, &kZero, t->x, at(set, "x"), z, residual ? at(set, "residual") : nullptr,
              t->x, at(set, "y"), t->channels, at(set, "weight"), at(set, "bias"), momentum, at(set, "running_mean"),
              at(set, "running_var"), eps, at(set, "save_mean"), at(set, "save_invstd"), act, extra->workspace->data(),
              extra->workspace->bytes(), extra->reserve->data(), extra->reserve->bytes());
        });
      else
        choice.consider(name, [&cudnn, t, mode, at, eps, extra, ops](int set) {
          return cudnn.f.cudnnBatchNormalizationBackwardEx(
              cudnn.handle, mode, ops, &kOne, &kZero, &kOne, &kZero, t->x, at(set, "x"), nullptr, nullptr, t->x,
              at(set, "dy"), nullptr, nullptr, t->x, at(set, "dx"), t->channels, at(set, "weight"), nullptr,
              at(set, "dweight"), at(set, "dbias"), eps, at(set, "save_mean"), at(set, "save_invstd"), nullptr,
              extra->workspace->data(), extra->workspace->bytes(), extra->reserve->data(), extra->reserve->bytes());
        });
    }
  }
  if (!choice.any() && fused) return {};  // batch norm it has, but not fused for this type or shape
  return choice.best();
}

namespace {

/// A pooling descriptor and the two tensors.
struct Pooling {
  CudnnTensor x, y;
  cudnnPoolingDescriptor_t window = nullptr;
  const Cudnn& cudnn;
  Pooling(const Cudnn& owner, const Problem& problem, cudnnPoolingMode_t mode, bool global)
      : x(owner, problem.dtype, in(problem)), y(owner, problem.dtype, out(problem, global)), cudnn(owner) {
    using extents::Pool;
    const std::int64_t* e = problem.extents;
    const auto at = [&](int which) { return static_cast<int>(e[which]); };
    owner.check(owner.f.cudnnCreatePoolingDescriptor(&window), "cudnnCreatePoolingDescriptor");
    owner.check(global ? owner.f.cudnnSetPooling2dDescriptor(window, mode, CUDNN_PROPAGATE_NAN, at(Pool::H),
                                                             at(Pool::W), 0, 0, 1, 1)
                       : owner.f.cudnnSetPooling2dDescriptor(window, mode, CUDNN_PROPAGATE_NAN, at(Pool::R),
                                                             at(Pool::S), at(Pool::pad_h), at(Pool::pad_w),
                                                             at(Pool::stride_h), at(Pool::stride_w)),
                "cudnnSetPooling2dDescriptor");
  }
  Pooling(const Pooling&) = delete;
  Pooling& operator=(const Pooling&) = delete;
  ~Pooling() { cudnn.f.cudnnDestroyPoolingDescriptor(window); }

  static std::array<std::int64_t, 4> in(const Problem& problem) {
    using extents::Pool;
    const std::int64_t* e = problem.extents;
    return {e[Pool::N], e[Pool::C], e[Pool::H], e[Pool::W]};
  }
  static std::array<std::int64_t, 4> out(const Problem& problem, bool global) {
    using extents::Pool;
    const std::int64_t* e = problem.extents;
    return {e[Pool::N], e[Pool::C], global ? 1 : e[Pool::P], global ? 1 : e[Pool::Q]};
  }
};

/// cuDNN rounds y's extents down; windows that hang over the edge (ceil_mode) it does not know.
bool rounds_down(const Problem& problem) {
  using extents::Pool;
  const std::int64_t* e = problem.extents;
  return e[Pool::P] == (e[Pool::H] + 2 * e[Pool::pad_h] - e[Pool::R]) / e[Pool::stride_h] + 1 &&
         e[Pool::Q] == (e[Pool::W] + 2 * e[Pool::pad_w] - e[Pool::S]) / e[Pool::stride_w] + 1;
}

}  // namespace

std::optional<PeerCall> cudnn_pooling(const Cudnn& cudnn, const std::string& function, const Call& call, Clock& clock) {
  // A pooling with one window: the whole picture.
  const bool global = function == "reduce_tensor_average" || function.ends_with("_global");
  if (!function.starts_with("pooling_") && !global) return {};
  if (!global && !rounds_down(call.problem())) return {};
  const bool max = function.ends_with("_max"), backward = function.starts_with("pooling_backward");
  const auto p = std::make_shared<Pooling>(
      cudnn, call.problem(), max ? CUDNN_POOLING_MAX : CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING, global);
  // The average's gradient needs neither x nor y, but the function wants pointers: dx and dy stand in.
  const auto or_else = [&call](int set, const char* name, const char* other) {
    void* const found = call.find(set, name);
    return found != nullptr ? found : call.find(set, other);
  };
  CudnnChoice choice(cudnn, clock);
  choice.consider(function, [&cudnn, &call, p, backward, or_else](int set) {
    if (!backward)
      return cudnn.f.cudnnPoolingForward(cudnn.handle, p->window, &kOne, p->x, call.find(set, "x"), &kZero, p->y,
                                         call.find(set, "y"));
    return cudnn.f.cudnnPoolingBackward(cudnn.handle, p->window, &kOne, p->y, or_else(set, "y", "dy"), p->y,
                                        call.find(set, "dy"), p->x, or_else(set, "x", "dx"), &kZero, p->x,
                                        call.find(set, "dx"));
  });
  PeerCall best = choice.best();
  best.unwritten = {"index"};
  return best;
}

}  // namespace weft::bench
