#include "kernels/gpu_text.h"

namespace weft {

std::string gpu_text(const GpuIdentity& gpu) {
  if (gpu.name.empty()) return "a GPU that does not answer";
  return gpu.name + ", compute capability " + std::to_string(gpu.major) + "." + std::to_string(gpu.minor);
}

std::string no_kernel_image_advice(std::string_view built_for, const GpuIdentity& gpu) {
  // Hopper's own instructions exist for 9.0 alone, and only where the architecture is written with an a.
  const std::string number = std::to_string(gpu.major * 10 + gpu.minor);
  const std::string architecture = gpu.name.empty() ? "NN-real, NN its compute capability without the point"
                                                    : number + (number == "90" ? "a-real" : "-real");
  return "this program was built for " + std::string(built_for) + ", and this GPU is " + gpu_text(gpu) +
         ": rebuild with -DWEFT_CUDA_ARCHITECTURES=" + architecture;
}

}  // namespace weft
