#include "kernels/simt/ptx/cluster.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/cluster.h"
#include "kernels/simt/ptx/aligned.h"
#include "kernels/simt/ptx/mbarrier.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

std::string at(const char* what, Site site) {
  return fmt::format("{} at {}:{}", what, site.file, site.line);
}

}  // namespace

unsigned emulate_cluster_rank() {
  running_cluster("%cluster_ctarank", Site{});
  return running_rank();
}

unsigned emulate_cluster_size() {
  return running_cluster("%cluster_nctarank", Site{}).size();
}

void emulate_cluster_arrive(bool release, const char* what, Site site) {
  Cluster& cluster = running_cluster(what, site);
  if (enter_site(what, site)) return;
  meet_aligned(what, site);
  if (release) publish_mbarriers(false, true);
  cluster.arrive(running_rank(), running_thread(), what, site);
}

void emulate_cluster_wait(Site site) {
  constexpr const char* kWhat = "barrier.cluster.wait";
  Cluster& cluster = running_cluster(kWhat, site);
  if (enter_site(kWhat, site)) return;
  const unsigned rank = running_rank(), thread = running_thread();
  if (!cluster.has_arrived(rank, thread)) fail(fmt::format("{}: the thread has not arrived before", at(kWhat, site)));
  meet_aligned(kWhat, site);
  wait_until([&] { return cluster.completed(rank, thread); }, kWhat, site);
}

void emulate_cluster_sync(Site site) {
  constexpr const char* kWhat = "cluster_sync";
  Cluster& cluster = running_cluster(kWhat, site);
  if (enter_site(kWhat, site)) return;
  meet_aligned(kWhat, site);
  const unsigned rank = running_rank(), thread = running_thread();
  publish_mbarriers(false, true);
  cluster.arrive(rank, thread, kWhat, site);
  wait_until([&] { return cluster.completed(rank, thread); }, kWhat, site);
}

void* emulate_mapa(void* pointer, unsigned rank, Site site) {
  constexpr const char* kWhat = "mapa";
  Cluster& cluster = running_cluster(kWhat, site);
  if (rank >= cluster.size())
    fail(fmt::format("{}: the cluster has {} blocks, so there is no block {}", at(kWhat, site), cluster.size(), rank));
  if (rank == running_rank()) return pointer;
  if (!running_block->in_dynamic_shared(pointer, 1))
    fail(fmt::format("{}: {} is not in this block's dynamic shared memory", at(kWhat, site), fmt::ptr(pointer)));
  const BlockRunner* other = cluster.running(rank);
  if (!other)
    fail(fmt::format("{}: block {} of the cluster has not begun or has ended; a barrier of the cluster makes sure",
                     at(kWhat, site), rank));
  const auto offset = static_cast<char*>(pointer) - static_cast<char*>(running_block->dynamic_shared());
  return static_cast<char*>(other->dynamic_shared()) + offset;
}

void emulate_mbarrier_arrive_cluster(std::uint64_t* barrier, unsigned rank, bool release, const char* what, Site site) {
  auto* const remote = static_cast<std::uint64_t*>(emulate_mapa(barrier, rank, site));
  if (release) publish_mbarriers(false, true);
  emulate_mbarrier_arrive(remote, 1, 0, true, what, site);
}

}  // namespace weft::simt
