#include "kernels/simt/ptx/fence.h"

#include <fmt/format.h>

#include <bit>
#include <cstdint>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/ptx/aligned.h"
#include "kernels/simt/ptx/async.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

std::string at(const char* what, Site site) {
  return fmt::format("{} at {}:{}", what, site.file, site.line);
}

/// PTX ISA, elect.sync: which lane it is, is open, but the same mask gives the same one each time. The lowest under
/// schedule seed 0, another one under any other.
int elected_lane(unsigned lanes) {
  const auto others = static_cast<unsigned>(std::popcount(lanes)) - 1;
  const std::uint64_t seed = schedule_seed();
  if (seed == 0 || others == 0) return std::countr_zero(lanes);
  for (std::uint64_t below = 1 + seed * 0x9e3779b97f4a7c15u % others; below > 0; --below) lanes &= lanes - 1;
  return std::countr_zero(lanes);
}

constexpr unsigned kFewestRegisters = 24, kMostRegisters = 256;  // PTX ISA, setmaxnreg: imm-reg-count

}  // namespace

void emulate_fence_proxy_async(Site site) {
  constexpr const char* kWhat = "fence.proxy.async";
  running_cluster(kWhat, site);
  if (enter_site(kWhat, site)) return;
  publish_mbarriers(true, false);
  running_block->proxy().fence(running_thread());
}

bool emulate_elect_one(Site site) {
  unsigned elected = 0;
  warp_collective(
      "elect.sync", ~0u, &elected,
      [](void* const* arguments, unsigned lanes) { *static_cast<unsigned*>(arguments[elected_lane(lanes)]) = 1; },
      site);
  return elected != 0;
}

void emulate_set_max_registers(unsigned count, bool more, Site site) {
  const char* what = more ? "setmaxnreg.inc" : "setmaxnreg.dec";
  RegisterPool& pool = block_async(what, site).registers;
  if (count < kFewestRegisters || count > kMostRegisters || count % 8 != 0)
    fail(fmt::format("{}: {} registers a thread are no multiple of 8 within {} to {}", at(what, site), count,
                     kFewestRegisters, kMostRegisters));
  if (enter_site(what, site)) return;
  if (!pool.log.others_caught_up(running_thread() / 32))
    fail(
        fmt::format("{}: another warp of the warpgroup has yet to execute the setmaxnreg before; a barrier of the "
                    "warpgroup must stand between two",
                    at(what, site)));
  meet_in_warpgroup(pool.log, what, site);
  unsigned& held = pool.held[running_thread()];
  if (more ? count < held : count > held)
    fail(fmt::format("{}: the thread has {} registers, so it cannot {} {}", at(what, site), held,
                     more ? "take more and have" : "give some back and have", count));
  if (more) wait_until([&] { return pool.free >= count - held; }, what, site);
  pool.free += held;
  pool.free -= count;
  held = count;
}

void emulate_named_barrier(unsigned id, unsigned threads, bool wait, Site site) {
  const char* what = wait ? "bar.sync" : "bar.arrive";
  if (threads == 0 || threads % 32 != 0)
    fail(fmt::format("{}: {} threads are not a whole number of warps", at(what, site), threads));
  if (wait) {
    block_barrier(id, threads, 0, what, site);
  } else {
    block_barrier_arrive(id, threads, what, site);
  }
}

}  // namespace weft::simt
