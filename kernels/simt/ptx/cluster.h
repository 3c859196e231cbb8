#pragma once
// Clusters on the SIMT machine: the body of kernels/ptx/cluster.h. What runs them is kernels/simt/cluster.h.

#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

unsigned emulate_cluster_rank();
unsigned emulate_cluster_size();
void emulate_cluster_arrive(bool release, const char* what, Site site);
void emulate_cluster_wait(Site site);
void emulate_cluster_sync(Site site);
void* emulate_mapa(void* pointer, unsigned rank, Site site);
void emulate_mbarrier_arrive_cluster(std::uint64_t* barrier, unsigned rank, Site site);

}  // namespace weft::simt
