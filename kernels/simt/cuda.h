#pragma once
// What a kernel gets in place of the CUDA headers. All of it sits in namespace weft::simt, where the kernels sit.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "kernels/simt/atomics.h"
#include "kernels/simt/bf16.h"
#include "kernels/simt/bf16_math.h"
#include "kernels/simt/integer_math.h"
#include "kernels/simt/keywords.h"
#include "kernels/simt/machine.h"
#include "kernels/simt/math.h"
#include "kernels/simt/memory.h"
#include "kernels/simt/sync.h"
#include "kernels/simt/vector_types.h"
#include "kernels/simt/warp.h"
