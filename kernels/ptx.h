#pragma once
// The wrapped PTX instructions: one named function each, with a device body for nvcc and, on simt, one that emulates
// what the PTX ISA says of it (kernels/simt/ptx/). A kernel never inlines PTX itself.

#include "kernels/ptx/cluster.h"
#include "kernels/ptx/cp_async.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/matrix.h"
#include "kernels/ptx/mbarrier.h"
#include "kernels/ptx/tma.h"
#include "kernels/ptx/wgmma.h"
