#pragma once
// Clusters on the SIMT machine: the body of kernels/ptx/cluster.h. What runs them is kernels/simt/cluster.h.
//
// Release and relaxed. A releasing arrival (at the cluster's barrier, or at another block's mbarrier) shows the cluster
// which mbarriers the thread has initialised; a relaxed one does not, and an arrival from another block at an mbarrier
// that nothing has shown is an error. Of ordinary stores no difference is modelled: mapa gives an address in the other
// block's own shared memory, loads and stores through it are plain C++ that the machine does not see, and so it can
// neither hold a store back until its thread releases it nor give a load an older value. A store that is released too
// late, or not at all, shows on simt only where the blocks' turns (a schedule seed) bring its reader before its writer.

#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

unsigned emulate_cluster_rank();
unsigned emulate_cluster_size();
void emulate_cluster_arrive(bool release, const char* what, Site site);
void emulate_cluster_wait(Site site);
void emulate_cluster_sync(Site site);
void* emulate_mapa(void* pointer, unsigned rank, Site site);
void emulate_mbarrier_arrive_cluster(std::uint64_t* barrier, unsigned rank, bool release, const char* what, Site site);

}  // namespace weft::simt
