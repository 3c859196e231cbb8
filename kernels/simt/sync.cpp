// Barriers, warp collectives and polling: who waits for whom, and what is said where that can never end.
#include "kernels/simt/sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "kernels/error.h"
#include "kernels/simt/atomics.h"
#include "kernels/simt/block.h"
#include "kernels/simt/ptx/aligned.h"
#include "kernels/simt/warp.h"

namespace weft::simt {
namespace {

std::string at(const char* what, Site site) {
  return fmt::format("{} at {}:{}", what, site.file, site.line);
}

bool same_name(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}

/// The same instructions in the same order have the same hash, and no order that of nothing. (Literals of one
/// instruction in the source are one string.)
void extend(WarpPath& path, const char* what, Site site) {
  std::uint64_t hash = path.hash ^ reinterpret_cast<std::uintptr_t>(what);
  hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9u + reinterpret_cast<std::uintptr_t>(site.file);
  hash = (hash ^ hash >> 32) * 0x94d049bb133111ebu + static_cast<std::uint64_t>(site.line);
  path = {hash | 1, {what, site}, path.last};
}

BlockRunner& runner(const char* what, Site site) {
  if (!running_block) fail(fmt::format("simt: {} outside a kernel", at(what, site)));
  return *running_block;
}

}  // namespace

std::string BlockRunner::place(const Thread& thread) const {
  return fmt::format("thread ({},{},{})", thread.index.x, thread.index.y, thread.index.z);
}

void BlockRunner::passed(const char* what, Site site) {
  extend(current_->path, what, site);
}

int BlockRunner::barrier(unsigned id, unsigned count, int predicate, bool wait, const char* what, Site site) {
  Thread& thread = *current_;
  async_.engine.tick();
  if (id >= kBarriers) fail(fmt::format("{}: there are barriers 0 to {}, not {}", at(what, site), kBarriers - 1, id));
  if (count > threads_.size())
    fail(fmt::format("{}: {} threads are to come, but the block has {}", at(what, site), count, threads_.size()));
  Barrier& barrier = barriers_[id];
  const bool whole_block = count == 0;
  const unsigned expected = whole_block ? static_cast<unsigned>(threads_.size()) : count;
  if (whole_block && live_ < threads_.size()) {
    for (std::size_t i = 0; i < next_start_; ++i) {
      const Thread& other = threads_[launch_->order[i]];
      if (other.state != ThreadState::kExited) continue;
      fail(fmt::format("waits in {}, but {} left the kernel before ({} of {} threads did)", at(what, site),
                       place(other), threads_.size() - live_, threads_.size()));
    }
  }
  if (barrier.arrived > 0) {
    const bool same_place = site == barrier.site && same_name(what, barrier.what);
    if (expected != barrier.expected || (whole_block && !same_place)) {
      fail(fmt::format(
          "came to {}, but {} thread{} of its block wait{} in {}{}", at(what, site), barrier.arrived,
          barrier.arrived == 1 ? "" : "s", barrier.arrived == 1 ? "s" : "", at(barrier.what, barrier.site),
          barrier.waiting.empty() ? "" : fmt::format(" (the first is {})", place(*barrier.waiting.first()))));
    }
  }
  barrier.expected = expected;
  barrier.what = what;
  barrier.site = site;
  barrier.sum += predicate;
  progressed();
  if (wait) {
    thread.what = what;
    thread.site = site;
    thread.state = ThreadState::kAtBarrier;
    barrier.waiting.push(thread);
  }
  if (++barrier.arrived == expected) {
    barrier.result = barrier.sum;
    barrier.sum = 0;
    barrier.arrived = 0;
    cluster_->block_met(rank_);
    ready_.splice(barrier.waiting);
  }
  if (wait) suspend(thread);
  if (wait) thread.path = {};
  return barrier.result;
}

void BlockRunner::collective(const char* what, unsigned mask, void* argument, Completion complete, Site site) {
  Thread& thread = *current_;
  async_.engine.tick();
  const unsigned lane = thread.linear % 32;
  if (!(mask >> lane & 1)) {
    fail(fmt::format("{}: the mask {:#010x} leaves out the calling lane {}", at(what, site), mask, lane));
  }
  Warp& warp = warps_[thread.linear / 32];
  thread.what = what;
  thread.site = site;
  thread.mask = mask;
  thread.argument = argument;
  thread.complete = complete;
  thread.state = ThreadState::kAtCollective;
  warp.waiting |= 1u << lane;
  progressed();
  try_complete(warp, thread.linear - lane, mask & warp.live);
  suspend(thread);
}

// `group` is the mask's lanes that have not left. Masks count as equal where they differ in lanes that have: a kernel
// that asks __activemask() gets a larger one in the lanes that ask early.
bool BlockRunner::try_complete(Warp& warp, unsigned first, unsigned group) {
  if ((warp.waiting & group) != group) return false;
  void* arguments[32] = {};
  const Thread* leader = nullptr;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(group >> lane & 1)) continue;
    const Thread& thread = threads_[first + lane];
    if ((thread.mask & warp.live) != group) return false;  // that lane waits for others first
    arguments[lane] = thread.argument;
    if (!leader) leader = &thread;
    const bool fence = same_name(thread.what, "__syncwarp");  // may stand on different lines of divergent lanes
    if (!same_name(thread.what, leader->what) || (!fence && !(thread.site == leader->site))) {
      fail(fmt::format("the lanes of one warp came to different collectives: {} is in {}, {} in {} (mask {:#010x})",
                       place(*leader), at(leader->what, leader->site), place(thread), at(thread.what, thread.site),
                       thread.mask));
    }
  }
  if (!leader) return false;
  try {
    leader->complete(arguments, group);
  } catch (const Error& error) {
    fail(fmt::format("in {}: {}", at(leader->what, leader->site), error.what()));
  }
  for (unsigned rest = group; rest; rest &= rest - 1) {  // together, or some of the warp are
    Thread& thread = threads_[first + static_cast<unsigned>(std::countr_zero(rest))];
    if (group == warp.live)
      thread.path = {};
    else
      extend(thread.path, thread.what, thread.site);
  }
  cluster_->warp_met(rank_, first);
  warp.waiting &= ~group;
  const auto lanes = static_cast<unsigned>(std::min<std::size_t>(32, threads_.size() - first));
  for (unsigned i = 0; i < lanes; ++i) {
    const unsigned lane = warp.order[warp.hasty ? lanes - 1 - i : i];
    if (!(group >> lane & 1)) continue;
    Thread& thread = threads_[first + lane];
    warp.hasty ? ready_.push_front(thread) : ready_.push(thread);
  }
  return true;
}

void BlockRunner::yield(const char* what, Site site, bool polling) {
  Thread& thread = *current_;
  async_.engine.tick();
  thread.what = what;
  thread.site = site;
  thread.state = ThreadState::kPolling;
  if (!polling) {
    progressed();
  } else if (++idle_polls_ > 2 * threads_.size() + 2 && !rest()) {
    suspend(thread);
  }
  if (unstarted()) {  // before the woken ones: they may all be polling for a thread that has not begun
    Fiber* next = take_free_fiber();
    ready_.push(thread);
    switch_to(*next);
    thread.state = ThreadState::kRunning;
    threadIdx = thread.index;
    current_ = &thread;
    if (aborting_) throw Cancelled{};
    return;
  }
  ready_.push(thread);
  suspend(thread);
}

// All threads only wait. The cluster's other blocks may go on, or what the copy engine has under way may land: then
// true. Otherwise the block has failed.
bool BlockRunner::rest() {
  const uint3 thread_index = threadIdx;
  const bool progressed = progressed_;
  progressed_ = false;
  idle_polls_ = 0;
  const Cluster::Rest outcome = cluster_->rest(rank_, progressed);
  threadIdx = thread_index;
  if (outcome == Cluster::Rest::go_on) return true;
  fail_block(outcome == Cluster::Rest::deadlock ? deadlock() : "");
  return false;
}

std::string BlockRunner::deadlock() const {
  return waits() + (cluster_->size() > 1 ? cluster_->others(rank_) : "");
}

// Groups the waiting threads by place.
std::string BlockRunner::waits() const {
  struct Group {
    const Thread* first;
    unsigned count;
  };
  std::vector<Group> groups;
  unsigned left = 0;
  for (const Thread& thread : threads_) {
    if (thread.state == ThreadState::kExited) {
      ++left;
      continue;
    }
    bool found = false;
    for (Group& group : groups) {
      const bool same_mask = thread.state != ThreadState::kAtCollective || thread.mask == group.first->mask;
      if (thread.state == group.first->state && thread.site == group.first->site && same_mask) {
        ++group.count;
        found = true;
        break;
      }
    }
    if (!found) groups.push_back({&thread, 1});
  }
  std::string text = "threads wait for each other for ever:";
  for (const Group& group : groups) {
    text += fmt::format(" {} in {}", group.count, at(group.first->what, group.first->site));
    if (group.first->state == ThreadState::kAtCollective) text += fmt::format(" with mask {:#010x}", group.first->mask);
    text += fmt::format(" (the first is {});", place(*group.first));
  }
  text += fmt::format(" {} left the kernel", left);
  return text;
}

void warp_collective(const char* what, unsigned mask, void* argument, Completion complete, Site site) {
  BlockRunner& block = runner(what, site);
  if (same_name(what, "__syncwarp") && enter_site(what, site)) return;  // the others compute something
  block.collective(what, mask, argument, complete, site);
}

int block_barrier(unsigned id, unsigned count, int predicate, const char* what, Site site) {
  BlockRunner& block = runner(what, site);
  if (enter_site(what, site)) return predicate;
  if (count != 0) meet_whole_warp(what, site);
  return block.barrier(id, count, predicate, true, what, site);
}

void block_barrier_arrive(unsigned id, unsigned count, const char* what, Site site) {
  BlockRunner& block = runner(what, site);
  if (enter_site(what, site)) return;
  meet_whole_warp(what, site);
  block.barrier(id, count, 0, false, what, site);
}

void yield_thread(const char* what, Site site) {
  if (running_block) running_block->yield(what, site, false);
}

void poll_thread(const char* what, Site site) {
  runner(what, site).yield(what, site, true);
}

void poll_succeeded() {
  if (running_block) running_block->progressed();
}

// A lock that another thread of the block holds is never given back unless that thread gets to run.
void contended() {
  static thread_local constinit unsigned attempts = 0;
  if (++attempts % 256 == 0) yield_thread("a contended atomic", Site{"", 0});
}

void complete_shuffle(void* const* arguments, unsigned lanes) {
  for (unsigned rest = lanes; rest; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    auto& reader = *static_cast<ShuffleArgument*>(arguments[lane]);
    if (!(lanes >> reader.source & 1)) {
      fail(fmt::format(
          "a shuffle's lane {} reads lane {}, which takes no part in it or has left the kernel (lanes {:#010x} do)",
          lane, reader.source, lanes));
    }
    reader.result = static_cast<const ShuffleArgument*>(arguments[reader.source])->value;
  }
}

unsigned lane_index() {
  return runner("lane_index", Site{}).current().linear % 32;
}
unsigned live_lanes() {
  return runner("__activemask", Site{}).live_lanes();
}

Cluster& running_cluster(const char* what, Site site) {
  return runner(what, site).cluster();
}
unsigned running_rank() {
  return runner("running_rank", Site{}).rank();
}
BlockAsync& block_async(const char* what, Site site) {
  return runner(what, site).async();
}
unsigned running_thread() {
  return runner("running_thread", Site{}).current().linear;
}

void* dynamic_shared_memory() {
  return runner("dynamic_shared", Site{}).dynamic_shared();
}

void __trap(Site site) {
  fail(at("__trap", site));
}

long long clock64() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

}  // namespace weft::simt
