#pragma once
// cuDNN 9 opened at run time: its functions, descriptors that free themselves, and the ops that this folder asks of it.

#include <cudnn.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>

#include "bench/peers/library.h"
#include "bench/peers/peer.h"
#include "kernels/error.h"

namespace weft::bench {

/// The functions that are used, found by name.
struct CudnnFunctions {
  Library library{{fmt::format("libcudnn.so.{}", CUDNN_MAJOR), "libcudnn.so"}};
#define WEFT_FUNCTION(name) decltype(&::name) name = library.function<decltype(&::name)>(#name)
  WEFT_FUNCTION(cudnnCreate);
  WEFT_FUNCTION(cudnnSetStream);
  WEFT_FUNCTION(cudnnGetVersion);
  WEFT_FUNCTION(cudnnGetErrorString);
  WEFT_FUNCTION(cudnnBackendCreateDescriptor);
  WEFT_FUNCTION(cudnnBackendDestroyDescriptor);
  WEFT_FUNCTION(cudnnBackendSetAttribute);
  WEFT_FUNCTION(cudnnBackendGetAttribute);
  WEFT_FUNCTION(cudnnBackendFinalize);
  WEFT_FUNCTION(cudnnBackendExecute);
  WEFT_FUNCTION(cudnnCreateTensorDescriptor);
  WEFT_FUNCTION(cudnnDestroyTensorDescriptor);
  WEFT_FUNCTION(cudnnSetTensor4dDescriptor);
  WEFT_FUNCTION(cudnnCreateActivationDescriptor);
  WEFT_FUNCTION(cudnnDestroyActivationDescriptor);
  WEFT_FUNCTION(cudnnSetActivationDescriptor);
  WEFT_FUNCTION(cudnnActivationForward);
  WEFT_FUNCTION(cudnnActivationBackward);
  WEFT_FUNCTION(cudnnSoftmaxForward);
  WEFT_FUNCTION(cudnnSoftmaxBackward);
  WEFT_FUNCTION(cudnnCreatePoolingDescriptor);
  WEFT_FUNCTION(cudnnDestroyPoolingDescriptor);
  WEFT_FUNCTION(cudnnSetPooling2dDescriptor);
  WEFT_FUNCTION(cudnnPoolingForward);
  WEFT_FUNCTION(cudnnPoolingBackward);
  WEFT_FUNCTION(cudnnBatchNormalizationForwardTrainingEx);
  WEFT_FUNCTION(cudnnBatchNormalizationBackwardEx);
  WEFT_FUNCTION(cudnnBatchNormalizationForwardInference);
  WEFT_FUNCTION(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize);
  WEFT_FUNCTION(cudnnGetBatchNormalizationBackwardExWorkspaceSize);
  WEFT_FUNCTION(cudnnGetBatchNormalizationTrainingExReserveSpaceSize);
  WEFT_FUNCTION(cudnnCreateOpTensorDescriptor);
  WEFT_FUNCTION(cudnnDestroyOpTensorDescriptor);
  WEFT_FUNCTION(cudnnSetOpTensorDescriptor);
  WEFT_FUNCTION(cudnnOpTensor);
  WEFT_FUNCTION(cudnnCreateReduceTensorDescriptor);
  WEFT_FUNCTION(cudnnDestroyReduceTensorDescriptor);
  WEFT_FUNCTION(cudnnSetReduceTensorDescriptor);
  WEFT_FUNCTION(cudnnGetReductionWorkspaceSize);
  WEFT_FUNCTION(cudnnReduceTensor);
  WEFT_FUNCTION(cudnnConvolutionBackwardBias);
  WEFT_FUNCTION(cudnnTransformTensor);
  WEFT_FUNCTION(cudnnSetTensor);
#undef WEFT_FUNCTION
};

struct Cudnn {
  CudnnFunctions f;
  cudnnHandle_t handle = nullptr;

  void check(cudnnStatus_t status, const char* what) const {
    if (status != CUDNN_STATUS_SUCCESS) fail(fmt::format("cuDNN: {}: {}", what, f.cudnnGetErrorString(status)));
  }
};

/// A tensor as cuDNN's ops know it: extents in the order N, C, H, W, lying in memory as NHWC.
class CudnnTensor {
 public:
  CudnnTensor(const Cudnn& cudnn, DType dtype, std::array<std::int64_t, 4> nchw);
  CudnnTensor(const CudnnTensor&) = delete;
  CudnnTensor& operator=(const CudnnTensor&) = delete;
  ~CudnnTensor() { cudnn_.f.cudnnDestroyTensorDescriptor(descriptor_); }
  operator cudnnTensorDescriptor_t() const { return descriptor_; }

 private:
  const Cudnn& cudnn_;
  cudnnTensorDescriptor_t descriptor_ = nullptr;
};

/// A descriptor of the older kind, freed with the object.
template <class D>
class CudnnHandle {
 public:
  CudnnHandle(cudnnStatus_t (*create)(D*), cudnnStatus_t (*destroy)(D)) : destroy_(destroy) {
    if (create(&descriptor_) != CUDNN_STATUS_SUCCESS) fail("cuDNN: a descriptor could not be made");
  }
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  ~CudnnHandle() { destroy_(descriptor_); }
  D get() const { return descriptor_; }

 private:
  D descriptor_ = nullptr;
  cudnnStatus_t (*destroy_)(D);
};

/// ReLU with a ceiling, 0 for none.
std::shared_ptr<CudnnHandle<cudnnActivationDescriptor_t>> cudnn_relu(const Cudnn& cudnn, double ceiling);

cudnnDataType_t cudnn_type(DType dtype);

/// The fastest of several ways to run one call. A way that fails is no way.
class CudnnChoice {
 public:
  CudnnChoice(const Cudnn& cudnn, Clock& clock) : cudnn_(cudnn), clock_(clock) {}
  /// `run` returns what the library's last function returned.
  void consider(const std::string& algorithm, const std::function<cudnnStatus_t(int set)>& run);
  /// Whether a way succeeded.
  bool any() const { return best_.run != nullptr; }
  /// Throws Error where none did.
  PeerCall best() const;

 private:
  const Cudnn& cudnn_;
  Clock& clock_;
  PeerCall best_;
  double seconds_ = 0;
  cudnnStatus_t last_ = CUDNN_STATUS_SUCCESS;
};

/// Forward, backward-data and backward-filter through the graph API: every engine configuration that the heuristics
/// propose is tried, with whatever workspace it wants; for float32 only those that do not round to TF32. A forward with
/// an epilogue is one graph with its pointwise operations behind the convolution; empty where no engine fuses it.
/// `function`: "convolution_forward", ... After `search_seconds` no further configuration is tried, which the call
/// says.
std::optional<PeerCall> cudnn_convolution(const Cudnn& cudnn, const std::string& function, const Call& call,
                                          Clock& clock, double search_seconds);
/// Batch norm, in training also with add and ReLU where cuDNN fuses those; pooling.
std::optional<PeerCall> cudnn_normalization(const Cudnn& cudnn, const std::string& function, const Call& call,
                                            Clock& clock);
std::optional<PeerCall> cudnn_pooling(const Cudnn& cudnn, const std::string& function, const Call& call, Clock& clock);
/// Activation, softmax, sums, reductions.
std::optional<PeerCall> cudnn_elementwise(const Cudnn& cudnn, const std::string& function, const Call& call,
                                          Clock& clock);

}  // namespace weft::bench
