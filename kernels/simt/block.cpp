#include "kernels/simt/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "kernels/error.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/ptx/wgmma.h"
#include "kernels/simt/static_shared.h"

namespace weft::simt {

thread_local constinit uint3 threadIdx{};
thread_local constinit uint3 blockIdx{};
thread_local constinit dim3 blockDim{};
thread_local constinit dim3 gridDim{};
thread_local constinit BlockRunner* running_block = nullptr;

namespace {

/// Hands boost::context the stack that the fiber already has.
struct MappedStack {
  Fiber* fiber;
  boost::context::stack_context allocate() const {
    boost::context::stack_context stack;
    stack.size = fiber->stack_size;
    stack.sp = static_cast<char*>(const_cast<void*>(fiber->stack_bottom)) + fiber->stack_size;
    return stack;
  }
  void deallocate(boost::context::stack_context&) const {}
};

// Warps that meet in no barrier may be any distance apart. Under a seed, half of a block's warps, drawn anew for each
// block, run as far ahead as they can, so that whoever relies on the others to keep step is seen to fail.
bool draw_haste(std::uint64_t seed, std::uint64_t block, std::uint64_t warp) {
  if (seed == 0) return false;
  std::uint64_t bits = (seed * 0x9e3779b97f4a7c15u ^ block) * 0xbf58476d1ce4e5b9u + warp;
  bits = (bits ^ bits >> 31) * 0x94d049bb133111ebu;
  return bits >> 63 != 0;
}

}  // namespace

void ThreadQueue::push(Thread& thread) {
  thread.next = nullptr;
  if (last_) {
    last_->next = &thread;
  } else {
    first_ = &thread;
  }
  last_ = &thread;
}

void ThreadQueue::push_front(Thread& thread) {
  thread.next = first_;
  first_ = &thread;
  if (!last_) last_ = &thread;
}

Thread* ThreadQueue::pop() {
  Thread* thread = first_;
  if (thread) {
    first_ = thread->next;
    if (!first_) last_ = nullptr;
  }
  return thread;
}

void ThreadQueue::splice(ThreadQueue& other) {
  if (other.empty()) return;
  if (last_) {
    last_->next = other.first_;
  } else {
    first_ = other.first_;
  }
  last_ = other.last_;
  other.clear();
}

BlockRunner::BlockRunner() = default;

BlockRunner::~BlockRunner() {
  shutting_down_ = true;
  for (auto& fiber : fibers_) {
    if (fiber->context) switch_to(*fiber);
    unmap_stack(*fiber);
  }
  std::free(dynamic_shared_);
}

void BlockRunner::prepare(const Launch& launch) {
  launch_ = &launch;
  const std::size_t count = std::size_t{launch.block.x} * launch.block.y * launch.block.z;
  threads_.resize(count);
  warps_.assign((count + 31) / 32, Warp{});
  std::size_t linear = 0;
  for (unsigned z = 0; z < launch.block.z; ++z) {
    for (unsigned y = 0; y < launch.block.y; ++y) {
      for (unsigned x = 0; x < launch.block.x; ++x, ++linear) {
        threads_[linear].index = {x, y, z};
        threads_[linear].linear = static_cast<unsigned>(linear);
      }
    }
  }
  std::vector<unsigned> lanes(warps_.size(), 0);
  for (unsigned thread : launch.order) {
    warps_[thread / 32].order[lanes[thread / 32]++] = static_cast<unsigned char>(thread % 32);
  }
  if (fiber_stack_bytes_ != stack_bytes()) {  // changed since the last launch: start over
    shutting_down_ = true;
    for (auto& fiber : fibers_) {
      if (fiber->context) switch_to(*fiber);
      unmap_stack(*fiber);
    }
    shutting_down_ = false;
    fibers_.clear();
    free_fibers_.clear();
    fiber_stack_bytes_ = stack_bytes();
  }
  if (WEFT_SIMT_ASAN || launch.shared_bytes > dynamic_shared_capacity_) {
    std::free(
        dynamic_shared_);  // exactly as long as asked for under AddressSanitizer, so that it sees the first byte beyond
    dynamic_shared_ = nullptr;
    dynamic_shared_capacity_ = 0;
    if (posix_memalign(&dynamic_shared_, 1024, launch.shared_bytes ? launch.shared_bytes : 1) != 0)
      fail("simt: no memory for dynamic shared memory");
    dynamic_shared_capacity_ = launch.shared_bytes;
  }
}

void BlockRunner::finish() {
  if (WEFT_SIMT_ASAN) {
    std::free(dynamic_shared_);
    dynamic_shared_ = nullptr;
    dynamic_shared_capacity_ = 0;
  }
  launch_ = nullptr;
}

std::string BlockRunner::run(uint3 block_index, Cluster& cluster, unsigned rank) {
  cluster_ = &cluster;
  rank_ = rank;
  std::string error;
  if (cluster.enter(rank, *this)) error = run_threads(block_index);
  cluster.leave(rank, error);
  return error;
}

std::string BlockRunner::run_threads(uint3 block_index) {
  static std::atomic<std::uint64_t> blocks{0};
  block_generation = ++blocks;
  block_index_ = blockIdx = block_index;
  blockDim = launch_->block;
  gridDim = launch_->grid;
  if (launch_->shared_bytes) fill_poison(dynamic_shared_, launch_->shared_bytes);
  const std::uint64_t block =
      (std::uint64_t{block_index.z} * gridDim.y + block_index.y) * std::uint64_t{gridDim.x} + block_index.x;
  async_.start_block(schedule_seed(), block, threads_.size());

  const std::size_t count = threads_.size();
  for (std::size_t warp = 0; warp < warps_.size(); ++warp) {
    const std::size_t lanes = std::min<std::size_t>(32, count - warp * 32);
    warps_[warp].live = lanes == 32 ? ~0u : (1u << lanes) - 1;
    warps_[warp].waiting = 0;
    warps_[warp].hasty = draw_haste(schedule_seed(), block, warp);
  }
  for (Barrier& barrier : barriers_) barrier = Barrier{};
  ready_.clear();
  next_start_ = 0;
  live_ = static_cast<unsigned>(count);
  progressed();
  proxy_.start_block(dynamic_shared_, launch_->shared_bytes, count);
  aborting_ = false;
  error_.clear();

  running_block = this;
  switch_to(*take_free_fiber());
  finish_async();
  running_block = nullptr;
  current_ = nullptr;
  return std::move(error_);
}

// What is still under way when the last thread has left: some of it happens after all.
void BlockRunner::finish_async() {
  if (aborting_) return async_.engine.abandon();
  try {
    check_bulk_copies();
    if (async_.wgmma) check_wgmma(*async_.wgmma);
    async_.registers.log.check();
    async_.engine.finish_block();
  } catch (const std::exception& error) {
    async_.engine.abandon();
    error_ = error.what();
  }
}

// With the block its shared memory goes, to which the copy engine may still want.
void BlockRunner::check_bulk_copies() const {
  for (const BulkFlight& flight : cluster_->flights)
    if (flight.ranks >> rank_ & 1 && flight.engine->in_flight(flight.ticket))
      fail(fmt::format("the block ended, but {} at {}:{} still writes to its shared memory", flight.what,
                       flight.site.file, flight.site.line));
  const auto check = [this](const std::shared_ptr<BulkStore>& store) {
    if (store->source.empty() && async_.engine.in_flight(store->ticket))
      fail(fmt::format("the block ended, but {} at {}:{} still reads its shared memory", store->what, store->site.file,
                       store->site.line));
  };
  for (const BulkGroups& groups : async_.bulk_stores) {
    for (const auto& group : groups.closed)
      for (const auto& store : group) check(store);
    for (const auto& store : groups.open) check(store);
  }
}

bool BlockRunner::in_dynamic_shared(const void* address, std::size_t bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(dynamic_shared_);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  return at >= begin && at - begin <= launch_->shared_bytes && bytes <= launch_->shared_bytes - (at - begin);
}

Fiber* BlockRunner::take_free_fiber() {
  if (!free_fibers_.empty()) {
    Fiber* fiber = free_fibers_.back();
    free_fibers_.pop_back();
    return fiber;
  }
  auto fiber = std::make_unique<Fiber>();
  map_stack(*fiber, fiber_stack_bytes_, fibers_.size());
  Fiber* self = fiber.get();
  fiber->context =
      boost::context::fiber(std::allocator_arg, MappedStack{self}, [this, self](boost::context::fiber&& came_from) {
        arrived_at(*self, std::move(came_from));
        fiber_loop(*self);
        // Only when shutting down: back to the OS thread's own stack for good.
        running_ = &main_;
        previous_ = self;
        announce_switch(nullptr, main_);
        return std::move(main_.context);
      });
  fibers_.push_back(std::move(fiber));
  return self;
}

void BlockRunner::switch_to(Fiber& to) {
  Fiber& from = *running_;
  running_ = &to;
  previous_ = &from;
  announce_switch(&from.fake_stack, to);
  boost::context::fiber came_from = std::move(to.context).resume();
  arrived_at(from, std::move(came_from));
}

void BlockRunner::arrived_at(Fiber& self, boost::context::fiber&& came_from) {
  announce_arrival(self, *previous_);
  previous_->context = std::move(came_from);
}

// What goes on when the running thread cannot: a thread that was woken, or a fiber that starts the next one.
Fiber* BlockRunner::next_fiber() {
  if (Thread* thread = ready_.pop()) return thread->fiber;
  if (unstarted()) return take_free_fiber();
  return nullptr;
}

void BlockRunner::fiber_loop(Fiber& self) {
  while (!shutting_down_) {
    do {  // whoever takes a free fiber wants a thread started, even where others are ready
      run_thread(threads_[launch_->order[next_start_++]], self);
    } while (ready_.empty() && unstarted());
    free_fibers_.push_back(&self);
    if (ready_.empty() && live_ > 0) fail_block(deadlock());  // which makes the waiting threads ready, to unwind
    Fiber* next = ready_.empty() ? &main_ : ready_.pop()->fiber;
    switch_to(*next);
  }
}

void BlockRunner::run_thread(Thread& thread, Fiber& self) {
  thread.fiber = &self;
  thread.state = ThreadState::kRunning;
  thread.path = {};
  threadIdx = thread.index;
  current_ = &thread;
  progressed();
  std::string failure;
  try {
    launch_->body(launch_->closure);
    leave(thread);
  } catch (const Cancelled&) {
  } catch (const std::exception& error) {
    failure = error.what();
  } catch (...) {
    failure = "an exception that is no std::exception";
  }
  if (thread.state != ThreadState::kExited) {
    thread.state = ThreadState::kExited;
    --live_;
  }
  if (!failure.empty()) fail_block(fmt::format("{}: {}", place(thread), failure));
}

// The thread returned from the kernel: whoever waits for it is told.
void BlockRunner::leave(Thread& thread) {
  thread.state = ThreadState::kExited;
  --live_;
  async_.engine.leave(thread.linear);
  cluster_->thread_left(rank_, thread.linear);
  Warp& warp = warps_[thread.linear / 32];
  warp.live &= ~(1u << (thread.linear % 32));
  const Barrier& barrier = barriers_[0];
  if (barrier.arrived > 0) {
    fail(fmt::format("left the kernel, but {} thread{} of its block wait{} for it in {} at {}:{} (the first is {})",
                     barrier.arrived, barrier.arrived == 1 ? "" : "s", barrier.arrived == 1 ? "s" : "", barrier.what,
                     barrier.site.file, barrier.site.line, place(*barrier.waiting.first())));
  }
  const unsigned first = thread.linear / 32 * 32;
  for (unsigned lane = 0; lane < 32 && warp.waiting != 0; ++lane) {  // a collective may have waited for this lane alone
    if (warp.waiting >> lane & 1) try_complete(warp, first, threads_[first + lane].mask & warp.live);
  }
}

void BlockRunner::suspend(Thread& thread) {
  Fiber* next = next_fiber();
  if (!next) {
    fail_block(deadlock());
    next = ready_.pop()->fiber;
  }
  if (next != thread.fiber) switch_to(*next);
  thread.state = ThreadState::kRunning;
  threadIdx = thread.index;
  current_ = &thread;
  if (aborting_) throw Cancelled{};
}

// Keeps the first error and wakes everyone, so that each stack unwinds.
void BlockRunner::fail_block(const std::string& message) {
  if (error_.empty()) error_ = message;
  if (aborting_) return;
  aborting_ = true;
  ready_.clear();
  for (std::size_t i = 0; i < next_start_; ++i) {
    Thread& thread = threads_[launch_->order[i]];
    if (thread.state != ThreadState::kExited && thread.state != ThreadState::kRunning) ready_.push(thread);
  }
  live_ -= static_cast<unsigned>(threads_.size() - next_start_);
  next_start_ = threads_.size();
}

}  // namespace weft::simt
