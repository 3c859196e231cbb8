#pragma once
// The wrapped PTX instructions: one named function each, with a device body for nvcc and, on simt, one that emulates
// what the PTX ISA says of it (kernels/simt/ptx/). A kernel never inlines PTX itself.

#include "kernels/ptx/cluster.h"   // barrier.cluster, mapa, mbarrier.arrive in another block
#include "kernels/ptx/cp_async.h"  // cp.async, its groups, cp.async.mbarrier.arrive
#include "kernels/ptx/fence.h"     // fence.proxy.async, fence.mbarrier_init, bar.sync and bar.arrive, elect, setmaxnreg
#include "kernels/ptx/matrix.h"    // ldmatrix, stmatrix, mma.sync, cvt.rna.tf32
#include "kernels/ptx/mbarrier.h"  // mbarrier: init, inval, arrive, expect_tx, complete_tx, test_wait, try_wait
#include "kernels/ptx/tma.h"       // cp.async.bulk, .tensor (tile, im2col; loads, multicast, stores, prefetch), reduce
#include "kernels/ptx/wgmma.h"     // wgmma.mma_async, its fence and groups, descriptors
