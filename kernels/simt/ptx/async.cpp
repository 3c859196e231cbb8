#include "kernels/simt/ptx/async.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/static_shared.h"

namespace weft::simt {
namespace {

/// splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
std::uint64_t mix(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

// The longest delay drawn: 2 to this number of scheduling events. A warp that comes to a collective is 32 of them, so
// this is some hundred instructions of a block of four warps.
constexpr std::uint64_t kLongestDelay = 14;

}  // namespace

void AsyncEngine::start_block(std::uint64_t seed, std::uint64_t block) {
  abandon();
  now_ = 0;
  seed_ = seed;
  random_ = seed * 0x2545f4914f6cdd1du + block;
}

void AsyncEngine::abandon() {
  first_ += flights_.size();
  flights_.clear();
  due_ = {};
}

// From at once to very late, each scale as likely: some land among the next few instructions, some at the wait.
std::uint64_t AsyncEngine::draw_delay() {
  const std::uint64_t scale = mix(random_) % (kLongestDelay + 1);
  return mix(random_) % (std::uint64_t{1} << scale);
}

AsyncEngine::Ticket AsyncEngine::issue(AsyncOperation operation) {
  tick();
  const Ticket ticket = first_ + flights_.size();
  for (const AsyncRange& range : operation.destination) fill_poison(range.data, range.bytes);
  flights_.push_back({std::move(operation), running_thread(), true});
  if (seed_ != 0) due_.push({now_ + draw_delay(), ticket});
  return ticket;
}

bool AsyncEngine::in_flight(Ticket ticket) const {
  return ticket >= first_ && ticket - first_ < flights_.size() && flights_[ticket - first_].under_way;
}

void AsyncEngine::complete(Ticket ticket) {
  if (in_flight(ticket)) land(flights_[ticket - first_]);
  while (!flights_.empty() && !flights_.front().under_way) {
    flights_.pop_front();
    ++first_;
  }
}

// The flight is marked and its operation taken out first: performing may issue or complete others.
void AsyncEngine::land(Flight& flight) {
  flight.under_way = false;
  const AsyncOperation operation = std::move(flight.operation);
  try {
    operation.perform();
  } catch (const Error& error) {
    fail(fmt::format("in {} issued at {}:{}: {}", operation.what, operation.site.file, operation.site.line,
                     error.what()));
  }
}

void AsyncEngine::land_due() {
  ++now_;
  while (!due_.empty() && due_.top().time < now_) {
    const Ticket ticket = due_.top().ticket;
    due_.pop();
    complete(ticket);
  }
}

void AsyncEngine::leave(unsigned thread) {
  for (Flight& flight : flights_)
    if (flight.thread == thread && flight.operation.end == AsyncEnd::leaves_with_thread) flight.under_way = false;
}

void AsyncEngine::finish_block() {
  for (Ticket ticket = first_; ticket < first_ + flights_.size(); ++ticket)  // performing may add to the list
    if (in_flight(ticket) && flights_[ticket - first_].operation.end == AsyncEnd::performed)
      land(flights_[ticket - first_]);
  abandon();
}

void AsyncGroups::commit() {
  closed_.push_back(std::exchange(open_, {}));
}

void AsyncGroups::wait(AsyncEngine& engine, std::size_t pending) {
  while (closed_.size() > pending) {
    const std::vector<AsyncEngine::Ticket> group = std::move(closed_.front());
    closed_.pop_front();
    for (const AsyncEngine::Ticket ticket : group) engine.complete(ticket);
  }
}

void AsyncGroups::wait_all(AsyncEngine& engine) {
  commit();
  wait(engine, 0);
}

std::vector<AsyncEngine::Ticket> AsyncGroups::all() const {
  std::vector<AsyncEngine::Ticket> tickets;
  for (const auto& group : closed_) tickets.insert(tickets.end(), group.begin(), group.end());
  tickets.insert(tickets.end(), open_.begin(), open_.end());
  return tickets;
}

void AsyncGroups::clear() {
  open_.clear();
  closed_.clear();
}

void BlockAsync::start_block(std::uint64_t seed, std::uint64_t block, std::size_t threads) {
  engine.start_block(seed, block);
  copies.resize(threads);
  for (AsyncGroups& groups : copies) groups.clear();
  bulk_stores.assign(threads, {});
  wgmma.reset();
  // A multiprocessor has 65536 registers, and a thread has at most 255 when the kernel begins. They come in eights.
  constexpr std::size_t kRegisters = 65536, kMost = 255;
  const auto each = static_cast<unsigned>(std::min(kRegisters / threads, kMost) / 8 * 8);
  registers.held.assign(threads, each);
  registers.free = 0;
  registers.log.start_block(threads);
}

}  // namespace weft::simt
