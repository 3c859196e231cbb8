#include "kernels/simt/ptx/cp_async.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/cluster.h"
#include "kernels/simt/ptx/address.h"
#include "kernels/simt/ptx/async.h"
#include "kernels/simt/ptx/mbarrier.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

AsyncGroups& copies_of_running_thread(BlockAsync& async) {
  return async.copies[running_thread()];
}

}  // namespace

void emulate_cp_async(void* shared, const void* global, int bytes, int source_bytes, const char* what, Site site) {
  BlockAsync& async = block_async(what, site);
  const auto size = static_cast<std::size_t>(bytes);
  check_shared(shared, size, size, "shared", what, site);
  check_aligned(global, size, "global", what, site);
  if (source_bytes < 0 || source_bytes > bytes)
    fail(fmt::format("{} at {}:{}: {} source bytes for a copy of {}", what, site.file, site.line, source_bytes, bytes));
  const auto read = static_cast<std::size_t>(source_bytes);
  copies_of_running_thread(async).add(async.engine.issue({.what = what,
                                                          .site = site,
                                                          .destination = {{shared, size}},
                                                          .perform =
                                                              [=] {
                                                                if (read) std::memcpy(shared, global, read);
                                                                std::memset(static_cast<char*>(shared) + read, 0,
                                                                            size - read);
                                                              },
                                                          .end = AsyncEnd::dropped}));
}

void emulate_cp_async_commit_group(Site site) {
  constexpr const char* kWhat = "cp.async.commit_group";
  BlockAsync& async = block_async(kWhat, site);
  if (!enter_site(kWhat, site)) copies_of_running_thread(async).commit();
}

void emulate_cp_async_wait_group(int pending, Site site) {
  constexpr const char* kWhat = "cp.async.wait_group";
  BlockAsync& async = block_async(kWhat, site);
  if (!enter_site(kWhat, site)) copies_of_running_thread(async).wait(async.engine, static_cast<std::size_t>(pending));
}

// An operation of its own, without a destination: it lands after the copies before it, and in doing so arrives. What
// waits for the mbarrier only polls, so the machine lands it, like a bulk copy, when nothing else can go on.
void emulate_cp_async_mbarrier_arrive_noinc(std::uint64_t* mbarrier, Site site) {
  constexpr const char* kWhat = "cp.async.mbarrier.arrive.noinc";
  BlockAsync& async = block_async(kWhat, site);
  check_shared(mbarrier, 8, 8, "mbarrier", kWhat, site);
  check_mbarrier(mbarrier, kWhat, site);
  if (enter_site(kWhat, site)) return;
  AsyncEngine& engine = async.engine;
  const AsyncEngine::Ticket ticket =
      engine.issue({.what = kWhat,
                    .site = site,
                    .destination = {},
                    .perform =
                        [mbarrier, site, &engine, copies = copies_of_running_thread(async).all()] {
                          for (const AsyncEngine::Ticket copy : copies) engine.complete(copy);
                          arrive_for_copies(mbarrier, kWhat, site);
                        },
                    .end = AsyncEnd::dropped});
  running_cluster(kWhat, site).flights.push_back({&engine, ticket, 0, kWhat, site});
}

void emulate_cp_async_wait_all(Site site) {
  constexpr const char* kWhat = "cp.async.wait_all";
  BlockAsync& async = block_async(kWhat, site);
  if (!enter_site(kWhat, site)) copies_of_running_thread(async).wait_all(async.engine);
}

}  // namespace weft::simt
