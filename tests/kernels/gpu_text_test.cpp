// What is said of a GPU, tried for GPUs that are not here.
#include "kernels/gpu_text.h"

#include <doctest/doctest.h>

namespace weft::test {
namespace {

TEST_CASE("no kernel image: what was built, what the GPU is, what to do") {
  CHECK(no_kernel_image_advice("80-real 90a-real 90-virtual", {"Tesla V100-SXM2-16GB", 7, 0}) ==
        "this program was built for 80-real 90a-real 90-virtual, and this GPU is Tesla V100-SXM2-16GB, compute "
        "capability 7.0: rebuild with -DWEFT_CUDA_ARCHITECTURES=70-real");
  CHECK(no_kernel_image_advice("90a-real", {"NVIDIA RTX PRO 6000", 12, 0}) ==
        "this program was built for 90a-real, and this GPU is NVIDIA RTX PRO 6000, compute capability 12.0: rebuild "
        "with -DWEFT_CUDA_ARCHITECTURES=120-real");
}

TEST_CASE("no kernel image: an H100 is offered the architecture that has Hopper's rungs") {
  CHECK(no_kernel_image_advice("80-real", {"NVIDIA H100 80GB HBM3", 9, 0}) ==
        "this program was built for 80-real, and this GPU is NVIDIA H100 80GB HBM3, compute capability 9.0: rebuild "
        "with -DWEFT_CUDA_ARCHITECTURES=90a-real");
}

TEST_CASE("no kernel image: a GPU that gives neither name nor number") {
  CHECK(gpu_text({}) == "a GPU that does not answer");
  CHECK(no_kernel_image_advice("80-real", {}) ==
        "this program was built for 80-real, and this GPU is a GPU that does not answer: rebuild with "
        "-DWEFT_CUDA_ARCHITECTURES=NN-real, NN its compute capability without the point");
}

}  // namespace
}  // namespace weft::test
