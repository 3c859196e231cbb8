#include "bench/peers/cudnn.h"

#include <cmath>

namespace weft::bench {

cudnnDataType_t cudnn_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDNN_DATA_FLOAT;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DType::f16:
      return CUDNN_DATA_HALF;
    default:
      fail("cuDNN: no counterpart for this type");
  }
}

CudnnTensor::CudnnTensor(const Cudnn& cudnn, DType dtype, std::array<std::int64_t, 4> nchw) : cudnn_(cudnn) {
  cudnn.check(cudnn.f.cudnnCreateTensorDescriptor(&descriptor_), "cudnnCreateTensorDescriptor");
  cudnn.check(cudnn.f.cudnnSetTensor4dDescriptor(descriptor_, CUDNN_TENSOR_NHWC, cudnn_type(dtype),
                                                 static_cast<int>(nchw[0]), static_cast<int>(nchw[1]),
                                                 static_cast<int>(nchw[2]), static_cast<int>(nchw[3])),
              "cudnnSetTensor4dDescriptor");
}

std::shared_ptr<CudnnHandle<cudnnActivationDescriptor_t>> cudnn_relu(const Cudnn& cudnn, double ceiling) {
  auto relu = std::make_shared<CudnnHandle<cudnnActivationDescriptor_t>>(cudnn.f.cudnnCreateActivationDescriptor,
                                                                         cudnn.f.cudnnDestroyActivationDescriptor);
  cudnn.check(cudnn.f.cudnnSetActivationDescriptor(relu->get(),
                                                   ceiling > 0 ? CUDNN_ACTIVATION_CLIPPED_RELU : CUDNN_ACTIVATION_RELU,
                                                   CUDNN_PROPAGATE_NAN, ceiling),
              "cudnnSetActivationDescriptor");
  return relu;
}

void CudnnChoice::consider(const std::string& algorithm, const std::function<cudnnStatus_t(int set)>& run) {
  last_ = run(0);
  if (last_ != CUDNN_STATUS_SUCCESS) return;
  const double seconds = quick_time(clock_, [&] { run(0); });
  if (best_.run != nullptr && !(seconds < seconds_)) return;
  seconds_ = seconds;
  best_.algorithm = algorithm;
  best_.run = [run, &cudnn = cudnn_](int set) { cudnn.check(run(set), "a run"); };
}

PeerCall CudnnChoice::best() const {
  if (best_.run == nullptr)
    fail(fmt::format("cuDNN: nothing takes this call: {}", cudnn_.f.cudnnGetErrorString(last_)));
  return best_;
}

namespace {

class CudnnPeer final : public Peer {
 public:
  explicit CudnnPeer(double search_seconds) : search_seconds_(search_seconds) {
    cudnn_.check(cudnn_.f.cudnnCreate(&cudnn_.handle), "cudnnCreate");
  }

  std::string name() const override {
    const std::size_t version = cudnn_.f.cudnnGetVersion();
    return fmt::format("cuDNN {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  }

  std::optional<PeerCall> prepare(const Case&, const Call& call, Clock& clock) override {
    const std::string function = peer_function(call.op(), "cudnn");
    if (function.empty() || (call.problem().dtype != DType::f32 && call.problem().dtype != DType::bf16)) return {};
    cudnn_.check(cudnn_.f.cudnnSetStream(cudnn_.handle, static_cast<cudaStream_t>(clock.stream())), "cudnnSetStream");
    if (auto found = cudnn_convolution(cudnn_, function, call, clock, search_seconds_)) return found;
    if (auto found = cudnn_normalization(cudnn_, function, call, clock)) return found;
    if (auto found = cudnn_pooling(cudnn_, function, call, clock)) return found;
    return cudnn_elementwise(cudnn_, function, call, clock);
  }

 private:
  Cudnn cudnn_;
  double search_seconds_;
};

}  // namespace

std::unique_ptr<Peer> open_cudnn(const Place&, std::vector<std::string>& said, double search_seconds) {
  try {
    return std::make_unique<CudnnPeer>(search_seconds);
  } catch (const weft::Error& error) {
    said.push_back(fmt::format("cuDNN is left out: {}", error.what()));
    return nullptr;
  }
}

}  // namespace weft::bench
