#pragma once
// CUDA's keywords as plain C++. Macros know no namespace: that is why nothing compiled for the host includes this
// header together with CUDA's own.

#ifdef __CUDA_RUNTIME_H__
#error "kernels/simt/ stands in for the CUDA headers: a file includes one or the other"
#endif

#include "kernels/simt/static_shared.h"

#define __global__
#define __device__
#define __host__
#define __managed__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __maxnreg__(...)

// The mark in front of the variable tells the machine that this block has come to the declaration, which is when the
// function's shared variables are poisoned (static_shared.h). So __shared__ stands within a function, one to a line.
// An alignment written before __shared__ falls to the mark; every shared variable is therefore aligned for all that the
// hardware loads at once, and a larger alignment is written behind: __shared__ __align__(1024).
#define __shared__ WEFT_SIMT_SHARED(__LINE__)
#define WEFT_SIMT_SHARED(line) WEFT_SIMT_SHARED_MARKED(line)
#define WEFT_SIMT_SHARED_MARKED(line)                                                \
  WEFT_SIMT_BLOCK_STATIC constinit ::weft::simt::SharedMark weft_shared_mark_##line; \
  weft_shared_mark_##line.pass();                                                    \
  WEFT_SIMT_BLOCK_STATIC __attribute__((aligned(WEFT_SIMT_SHARED_ALIGNMENT)))
