// Activation, softmax, sums and reductions through cuDNN's op functions.

#include "bench/peers/cudnn.h"
#include "kernels/ops.h"

namespace weft::bench {
namespace {

constexpr float kOne = 1, kZero = 0;

/// A flat tensor of n elements, as a row of channels where n is long and even enough, else as one line.
std::array<std::int64_t, 4> flat(std::int64_t n) {
  constexpr std::int64_t kRow = 1024;
  if (n % kRow == 0) return {n / kRow, kRow, 1, 1};
  return {1, 1, 1, n};
}

/// What one function of cuDNN's is asked to do: run(set).
using Run = std::function<cudnnStatus_t(int)>;

Run activation(const Cudnn& cudnn, const Call& call, bool backward) {
  const auto relu = cudnn_relu(cudnn, call.problem().scalars[extents::Elements::ceiling]);
  const auto t =
      std::make_shared<CudnnTensor>(cudnn, call.problem().dtype, flat(call.problem().extents[extents::Elements::n]));
  return [&cudnn, &call, relu, t, backward](int set) {
    if (!backward)
      return cudnn.f.cudnnActivationForward(cudnn.handle, relu->get(), &kOne, *t, call.find(set, "x"), &kZero, *t,
                                            call.find(set, "y"));
    return cudnn.f.cudnnActivationBackward(cudnn.handle, relu->get(), &kOne, *t, call.find(set, "y"), *t,
                                           call.find(set, "dy"), *t, call.find(set, "x"), &kZero, *t,
                                           call.find(set, "dx"));
  };
}

Run softmax(const Cudnn& cudnn, const Call& call, bool backward, bool log, cudnnSoftmaxMode_t mode) {
  const std::int64_t* e = call.problem().extents;
  const auto t = std::make_shared<CudnnTensor>(
      cudnn, call.problem().dtype, std::array<std::int64_t, 4>{e[extents::Rows::rows], e[extents::Rows::C], 1, 1});
  const auto algorithm = log ? CUDNN_SOFTMAX_LOG : CUDNN_SOFTMAX_ACCURATE;
  return [&cudnn, &call, t, backward, algorithm, mode](int set) {
    if (!backward)
      return cudnn.f.cudnnSoftmaxForward(cudnn.handle, algorithm, mode, &kOne, *t, call.find(set, "x"), &kZero, *t,
                                         call.find(set, "y"));
    return cudnn.f.cudnnSoftmaxBackward(cudnn.handle, algorithm, mode, &kOne, *t, call.find(set, "y"), *t,
                                        call.find(set, "dy"), &kZero, *t, call.find(set, "dx"));
  };
}

/// y = a + b, b of a's shape or one row of channels.
Run sum_of_two(const Cudnn& cudnn, const Call& call, const char* a, const char* b, std::array<std::int64_t, 4> shape,
               std::array<std::int64_t, 4> b_shape) {
  const auto add = std::make_shared<CudnnHandle<cudnnOpTensorDescriptor_t>>(cudnn.f.cudnnCreateOpTensorDescriptor,
                                                                            cudnn.f.cudnnDestroyOpTensorDescriptor);
  cudnn.check(
      cudnn.f.cudnnSetOpTensorDescriptor(add->get(), CUDNN_OP_TENSOR_ADD, CUDNN_DATA_FLOAT, CUDNN_PROPAGATE_NAN),
      "cudnnSetOpTensorDescriptor");
  const auto t = std::make_shared<CudnnTensor>(cudnn, call.problem().dtype, shape);
  const auto tb = std::make_shared<CudnnTensor>(cudnn, call.problem().dtype, b_shape);
  return [&cudnn, &call, add, t, tb, a, b](int set) {
    return cudnn.f.cudnnOpTensor(cudnn.handle, add->get(), &kOne, *t, call.find(set, a), &kOne, *tb, call.find(set, b),
                                 &kZero, *t, call.find(set, "y"));
  };
}

Run reduction(const Cudnn& cudnn, const Call& call) {
  const auto how = std::make_shared<CudnnHandle<cudnnReduceTensorDescriptor_t>>(
      cudnn.f.cudnnCreateReduceTensorDescriptor, cudnn.f.cudnnDestroyReduceTensorDescriptor);
  cudnn.check(
      cudnn.f.cudnnSetReduceTensorDescriptor(how->get(), CUDNN_REDUCE_TENSOR_ADD, CUDNN_DATA_FLOAT, CUDNN_PROPAGATE_NAN,
                                             CUDNN_REDUCE_TENSOR_NO_INDICES, CUDNN_32BIT_INDICES),
      "cudnnSetReduceTensorDescriptor");
  const auto x =
      std::make_shared<CudnnTensor>(cudnn, call.problem().dtype, flat(call.problem().extents[extents::Elements::n]));
  const auto y = std::make_shared<CudnnTensor>(cudnn, call.problem().dtype, std::array<std::int64_t, 4>{1, 1, 1, 1});
  std::size_t bytes = 0;
  cudnn.check(cudnn.f.cudnnGetReductionWorkspaceSize(cudnn.handle, how->get(), *x, *y, &bytes),
              "cudnnGetReductionWorkspaceSize");
  const auto workspace = std::make_shared<Memory>(call.place(), bytes);
  return [&cudnn, &call, how, x, y, workspace](int set) {
    return cudnn.f.cudnnReduceTensor(cudnn.handle, how->get(), nullptr, 0, workspace->data(), workspace->bytes(), &kOne,
                                     *x, call.find(set, "x"), &kZero, *y, call.find(set, "y"));
  };
}

}  // namespace

std::optional<PeerCall> cudnn_elementwise(const Cudnn& cudnn, const std::string& function, const Call& call,
                                          Clock& clock) {
  const Problem& problem = call.problem();
  const std::int64_t n = problem.extents[extents::Elements::n];
  const std::int64_t rows = problem.extents[extents::Rows::rows], C = problem.extents[extents::Rows::C];
  CudnnChoice choice(cudnn, clock);
  if (function == "activation_forward" || function == "activation_backward") {
    choice.consider(function, activation(cudnn, call, function == "activation_backward"));
  } else if (function.starts_with("softmax_")) {
    const bool backward = function.starts_with("softmax_backward"), log = function.ends_with("_log");
    choice.consider("by instance", softmax(cudnn, call, backward, log, CUDNN_SOFTMAX_MODE_INSTANCE));
    choice.consider("by channel", softmax(cudnn, call, backward, log, CUDNN_SOFTMAX_MODE_CHANNEL));
  } else if (function == "op_tensor_add") {
    choice.consider(function, sum_of_two(cudnn, call, "a", "b", flat(n), flat(n)));
  } else if (function == "add_tensor") {
    choice.consider("cudnnOpTensor", sum_of_two(cudnn, call, "x", "bias", {rows, C, 1, 1}, {1, C, 1, 1}));
  } else if (function == "reduce_tensor_add") {
    choice.consider(function, reduction(cudnn, call));
  } else if (function == "convolution_backward_bias") {
    for (const bool wide : {false, true}) {
      const auto dy = std::make_shared<CudnnTensor>(
          cudnn, problem.dtype,
          wide ? std::array<std::int64_t, 4>{1, C, 1, rows} : std::array<std::int64_t, 4>{rows, C, 1, 1});
      const auto db = std::make_shared<CudnnTensor>(cudnn, problem.dtype, std::array<std::int64_t, 4>{1, C, 1, 1});
      choice.consider(function, [&cudnn, &call, dy, db](int set) {
        return cudnn.f.cudnnConvolutionBackwardBias(cudnn.handle, &kOne, *dy, call.find(set, "dy"), &kZero, *db,
                                                    call.find(set, "dbias"));
      });
    }
  } else if (function == "scale_tensor") {
    const auto t = std::make_shared<CudnnTensor>(cudnn, problem.dtype, flat(n));
    const auto factor = static_cast<float>(problem.scalars[extents::Elements::factor]);
    choice.consider("cudnnTransformTensor", [&cudnn, &call, t, factor](int set) {
      return cudnn.f.cudnnTransformTensor(cudnn.handle, &factor, *t, call.find(set, "x"), &kZero, *t,
                                          call.find(set, "y"));
    });
  } else if (function == "set_tensor") {
    const auto t = std::make_shared<CudnnTensor>(cudnn, DType::f32, flat(n));
    if (problem.dtype != DType::f32) return {};  // it takes the value in the tensor's type
    const auto value = static_cast<float>(problem.scalars[extents::Elements::value]);
    choice.consider(function, [&cudnn, &call, t, value](int set) {
      return cudnn.f.cudnnSetTensor(cudnn.handle, *t, call.find(set, "y"), &value);
    });
  } else {
    return {};  // dropout among them: it draws random numbers of its own
  }
  return choice.best();
}

}  // namespace weft::bench
