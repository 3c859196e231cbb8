#pragma once
// Sentences about a GPU, made of nothing but what they are told, so that no GPU is needed to try them.

#include <string>
#include <string_view>

namespace weft {

/// A GPU as its driver presents it.
struct GpuIdentity {
  std::string name;          ///< empty: it did not answer
  int major = 0, minor = 0;  ///< compute capability
};

/// "NVIDIA A100, compute capability 8.0".
std::string gpu_text(const GpuIdentity& gpu);

/// For a program that holds no kernel for `gpu`: what it was built for (WEFT_CUDA_ARCHITECTURES, blanks between), what
/// the GPU is, and the setting to build it with.
std::string no_kernel_image_advice(std::string_view built_for, const GpuIdentity& gpu);

}  // namespace weft
