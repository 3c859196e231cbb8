#pragma once
// One block at a time, on one OS thread: its threads as fibers, their barriers and warp collectives. Internal to the
// machine; kernels see sync.h and warp.h.

#include <boost/context/fiber.hpp>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simt/cluster.h"
#include "kernels/simt/machine.h"
#include "kernels/simt/ptx/async.h"
#include "kernels/simt/ptx/proxy_view.h"
#include "kernels/simt/sync.h"

namespace weft::simt {

/// What every block of a launch shares.
struct Launch {
  dim3 grid;
  dim3 block;
  dim3 cluster;
  unsigned shared_bytes;
  void (*body)(const void*);
  const void* closure;
  Site where;
  std::vector<unsigned> order;  // the thread that starts first, second, ...
};

/// A stack with what runs on it. A fiber runs one thread after another for as long as none of them has to wait, so a
/// kernel without barriers needs a single one.
struct Fiber {
  boost::context::fiber context;
  void* mapping = nullptr;  // guard page and stack
  std::size_t mapping_bytes = 0;
  const void* stack_bottom = nullptr;
  std::size_t stack_size = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

/// What a thread synchronised by since its warp was last together, for instructions that are .aligned (ptx/aligned.h).
struct WarpPath {
  struct Step {
    const char* what = nullptr;
    Site site;
  };
  std::uint64_t hash = 0;  ///< of all of it; 0: nothing
  Step last, before_last;
};

enum class ThreadState : unsigned char { kNew, kRunning, kAtBarrier, kAtCollective, kPolling, kExited };

struct Thread {
  uint3 index{};
  unsigned linear = 0;
  ThreadState state = ThreadState::kNew;
  Fiber* fiber = nullptr;
  Thread* next = nullptr;  // in the queue that it waits in
  // What it waits for, where it waits.
  const char* what = "";
  Site site;
  unsigned mask = 0;
  void* argument = nullptr;
  Completion complete = nullptr;
  WarpPath path;
};

/// Threads in the order in which they go on.
class ThreadQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  Thread* first() const { return first_; }
  void push(Thread& thread);
  void push_front(Thread& thread);
  Thread* pop();
  void splice(ThreadQueue& other);
  void clear() { first_ = last_ = nullptr; }

 private:
  Thread* first_ = nullptr;
  Thread* last_ = nullptr;
};

struct Warp {
  unsigned live = 0;     // lanes that have not left the kernel
  unsigned waiting = 0;  // lanes in a collective
  unsigned char order[32] = {};
  bool hasty = false;  // runs on after a collective, ahead of the other warps, until it has to wait for them
};

struct Barrier {
  ThreadQueue waiting;
  unsigned arrived = 0;
  unsigned expected = 0;
  const char* what = "";
  Site site;
  int sum = 0;     // of the predicates so far
  int result = 0;  // of the last full round
};

/// Thrown in the threads of a block that has failed, so that their stacks unwind.
struct Cancelled {};

class BlockRunner {
 public:
  static constexpr int kBarriers = 16;

  BlockRunner();
  ~BlockRunner();
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;

  /// Gets ready for the blocks of `launch`, which must outlive them.
  void prepare(const Launch& launch);
  /// Runs one block, which is `rank` of its cluster; the returned message is empty where all went well.
  std::string run(uint3 block_index, Cluster& cluster, unsigned rank);
  /// Gives back what only this launch needed.
  void finish();

  /// What the running thread calls.
  int barrier(unsigned id, unsigned count, int predicate, bool wait, const char* what, Site site);
  void collective(const char* what, unsigned mask, void* argument, Completion complete, Site site);
  void yield(const char* what, Site site, bool polling);
  void progressed() {
    idle_polls_ = 0;
    progressed_ = true;
  }
  void passed(const char* what, Site site);
  const Thread& current() const { return *current_; }
  unsigned live_lanes() const { return warps_[current_->linear / 32].live; }
  void* dynamic_shared() const { return dynamic_shared_; }
  /// Whether `bytes` from `address` lie in this launch's dynamic shared memory.
  bool in_dynamic_shared(const void* address, std::size_t bytes) const;
  BlockAsync& async() { return async_; }
  Cluster& cluster() const { return *cluster_; }
  unsigned rank() const { return rank_; }
  unsigned shared_bytes() const { return launch_->shared_bytes; }
  std::size_t thread_count() const { return threads_.size(); }
  /// The block's dynamic shared memory as the asynchronous proxy sees it.
  ProxyView& proxy() { return proxy_; }
  /// What each thread waits for, by place.
  std::string waits() const;
  std::string place(const Thread& thread) const;

 private:
  Fiber* take_free_fiber();
  Fiber* next_fiber();
  void fiber_loop(Fiber& self);
  void run_thread(Thread& thread, Fiber& self);
  void leave(Thread& thread);
  void suspend(Thread& thread);
  void finish_async();
  void check_bulk_copies() const;
  std::string run_threads(uint3 block_index);
  bool rest();
  void switch_to(Fiber& to);
  void arrived_at(Fiber& self, boost::context::fiber&& came_from);
  bool try_complete(Warp& warp, unsigned first, unsigned group);
  void fail_block(const std::string& message);
  std::string deadlock() const;
  bool unstarted() const { return next_start_ < threads_.size(); }

  const Launch* launch_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  Barrier barriers_[kBarriers];
  ThreadQueue ready_;
  std::size_t next_start_ = 0;
  unsigned live_ = 0;
  unsigned idle_polls_ = 0;
  bool progressed_ = true;  // since the block last gave up its turn
  Thread* current_ = nullptr;
  bool aborting_ = false;
  bool shutting_down_ = false;
  std::string error_;
  uint3 block_index_{};

  Fiber main_;
  Fiber* running_ = &main_;
  Fiber* previous_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;
  std::size_t fiber_stack_bytes_ = 0;

  void* dynamic_shared_ = nullptr;
  std::size_t dynamic_shared_capacity_ = 0;

  BlockAsync async_;
  Cluster* cluster_ = nullptr;
  unsigned rank_ = 0;
  ProxyView proxy_;
};

/// The runner of this OS thread while it runs a block, else null.
extern thread_local constinit BlockRunner* running_block;

}  // namespace weft::simt
