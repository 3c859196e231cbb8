// Turns: which block of a cluster runs, and what happens when none can.
#include "kernels/simt/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels/error.h"
#include "kernels/simt/block.h"

namespace weft::simt {

void Cluster::prepare(unsigned size, unsigned threads, std::uint64_t seed) {
  blocks_.assign(size, nullptr);
  ended_.assign(size, false);
  order_.resize(size);
  std::iota(order_.begin(), order_.end(), 0u);
  for (unsigned i = size; seed != 0 && i > 1; --i) {
    seed = seed * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
    std::swap(order_[i - 1], order_[(seed >> 33) % i]);
  }
  turn_ = order_[0];
  idle_turns_ = 0;
  failed_ = false;
  threads_ = threads;
  live_ = size * threads;
  waiting_ = 0;
  phase_ = 0;
  arrived_.assign(live_, 0);
  arrival_phase_.assign(live_, 0);
  mbarriers.clear();
  flights.clear();
  stuck_parities.clear();
}

bool Cluster::enter(unsigned rank, BlockRunner& block) {
  std::unique_lock lock(mutex_);
  turned_.wait(lock, [&] { return turn_ == rank; });
  blocks_[rank] = &block;
  return !failed_;
}

Cluster::Rest Cluster::rest(unsigned rank, bool progressed) {
  std::unique_lock lock(mutex_);
  idle_turns_ = progressed ? 0 : idle_turns_ + 1;
  const auto running = static_cast<unsigned>(std::count(ended_.begin(), ended_.end(), false));
  if (idle_turns_ >= running) {
    idle_turns_ = 0;
    return land_one() ? Rest::go_on : Rest::deadlock;
  }
  pass_turn(rank);
  turned_.wait(lock, [&] { return turn_ == rank; });
  return failed_ ? Rest::failed_elsewhere : Rest::go_on;
}

void Cluster::leave(unsigned rank, const std::string& error) {
  const std::lock_guard lock(mutex_);
  blocks_[rank] = nullptr;
  ended_[rank] = true;
  idle_turns_ = 0;
  if (!error.empty()) failed_ = true;
  pass_turn(rank);
}

// With the mutex held.
void Cluster::pass_turn(unsigned rank) {
  const auto at = static_cast<std::size_t>(std::find(order_.begin(), order_.end(), rank) - order_.begin());
  for (std::size_t i = 1; i <= order_.size(); ++i) {
    const unsigned next = order_[(at + i) % order_.size()];
    if (ended_[next]) continue;
    turn_ = next;
    break;
  }
  if (size() > 1) turned_.notify_all();
}

bool Cluster::land_one() {
  while (!flights.empty()) {
    const BulkFlight flight = flights.front();
    flights.erase(flights.begin());
    if (!flight.engine->in_flight(flight.ticket)) continue;
    flight.engine->complete(flight.ticket);
    return true;
  }
  return false;
}

unsigned Cluster::rank_of(const BlockRunner& block) const {
  return static_cast<unsigned>(std::find(blocks_.begin(), blocks_.end(), &block) - blocks_.begin());
}

std::string Cluster::others(unsigned rank) const {
  std::string text;
  for (unsigned other = 0; other < size(); ++other) {
    if (other == rank) continue;
    text += fmt::format("; block {} of the cluster: ", other);
    text += blocks_[other] ? blocks_[other]->waits() : ended_[other] ? "has ended" : "has not begun";
  }
  return text;
}

void Cluster::arrive(unsigned rank, unsigned thread, const char* what, Site site) {
  const std::size_t index = std::size_t{rank} * threads_ + thread;
  if (arrived_[index])
    fail(fmt::format("{} at {}:{}: the thread has arrived already and not waited since", what, site.file, site.line));
  arrived_[index] = 1;
  arrival_phase_[index] = phase_;
  ++waiting_;
  complete_barrier();
}

bool Cluster::completed(unsigned rank, unsigned thread) {
  const std::size_t index = std::size_t{rank} * threads_ + thread;
  if (arrival_phase_[index] == phase_) return false;
  arrived_[index] = 0;
  return true;
}

void Cluster::block_met(unsigned rank) {
  for (auto& [address, known] : mbarriers)
    if (known.owner == rank) known.seen_by = Mbarrier::SeenBy::block;
}

void Cluster::warp_met(unsigned rank, unsigned first) {
  for (auto& [address, known] : mbarriers)
    if (known.owner == rank && known.thread / 32 == first / 32 && known.seen_by == Mbarrier::SeenBy::thread)
      known.seen_by = Mbarrier::SeenBy::warp;
}

// A thread that leaves is not waited for; one that has arrived and then leaves counts no more either way.
void Cluster::thread_left(unsigned rank, unsigned thread) {
  const std::size_t index = std::size_t{rank} * threads_ + thread;
  --live_;
  if (arrived_[index] && arrival_phase_[index] == phase_) --waiting_;
  complete_barrier();
}

void Cluster::complete_barrier() {
  if (waiting_ == 0 || waiting_ < live_) return;
  for (unsigned rank = 0; rank < size(); ++rank) block_met(rank);
  waiting_ = 0;
  ++phase_;
}

}  // namespace weft::simt
