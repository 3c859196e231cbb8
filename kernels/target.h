#pragma once
// One kernel source, two targets. nvcc compiles a .cu file for the GPU (target `cuda`), the C++ compiler compiles the
// very same file for the SIMT machine (target `simt`). Both live in one program, so whatever is compiled per target
// sits in namespace weft::WEFT_TARGET: weft::cuda or weft::simt.

#if defined(__CUDACC__)
#define WEFT_TARGET cuda
#define WEFT_TARGET_IS_CUDA 1
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#else
#define WEFT_TARGET simt
#define WEFT_TARGET_IS_CUDA 0
#include "kernels/simt/cuda.h"
#endif

// Hopper's own instructions exist for sm_90a alone: not for sm_90, and not for anything newer.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !WEFT_TARGET_IS_CUDA
#define WEFT_HAS_HOPPER 1
#else
#define WEFT_HAS_HOPPER 0
#endif
