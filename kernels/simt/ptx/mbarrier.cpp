#include "kernels/simt/ptx/mbarrier.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/cluster.h"
#include "kernels/simt/ptx/address.h"
#include "kernels/simt/ptx/aligned.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

struct Counts {
  std::int64_t pending, expected, transactions;
  unsigned parity;
};

constexpr unsigned kCountBits = 20, kTransactionBits = 21;
constexpr std::uint64_t kTag = std::uint64_t{1} << 62;

std::uint64_t pack(const Counts& counts) {
  const auto transactions = static_cast<std::uint64_t>(counts.transactions) & ((1u << kTransactionBits) - 1);
  return static_cast<std::uint64_t>(counts.pending) | static_cast<std::uint64_t>(counts.expected) << kCountBits |
         transactions << (2 * kCountBits) | std::uint64_t{counts.parity} << 61 | kTag;
}

Counts unpack(std::uint64_t word) {
  constexpr std::uint64_t kCount = (1u << kCountBits) - 1;
  const auto transactions =
      static_cast<std::int64_t>(word << (64 - 2 * kCountBits - kTransactionBits)) >> (64 - kTransactionBits);
  return {static_cast<std::int64_t>(word & kCount), static_cast<std::int64_t>(word >> kCountBits & kCount),
          transactions, static_cast<unsigned>(word >> 61 & 1)};
}

std::string at(const char* what, Site site) {
  return fmt::format("{} at {}:{}", what, site.file, site.line);
}

/// The barrier's entry, once it is sure that it is one.
Mbarrier& find(const std::uint64_t* barrier, const char* what, Site site) {
  Cluster& cluster = running_cluster(what, site);
  check_aligned(barrier, 8, "mbarrier", what, site);
  const auto entry = cluster.mbarriers.find(barrier);
  if (entry == cluster.mbarriers.end())
    fail(fmt::format("{}: no mbarrier has been initialised at this address", at(what, site)));
  Mbarrier& known = entry->second;
  if (*barrier != known.word)
    fail(fmt::format("{}: the mbarrier initialised at {}:{} has been overwritten by something else", at(what, site),
                     known.site.file, known.site.line));
  return known;
}

/// The same, for the running thread to use: it must see that another thread of its block has initialised the barrier.
/// (Other blocks of the cluster: check_seen().)
Mbarrier& find_seen(const std::uint64_t* barrier, const char* what, Site site) {
  using enum Mbarrier::SeenBy;
  Mbarrier& known = find(barrier, what, site);
  const unsigned mine = running_thread();
  if (known.owner != running_rank() || known.seen_by == block || known.thread == mine) return known;
  if (known.seen_by == warp && known.thread / 32 == mine / 32) return known;
  fail(fmt::format(
      "{}: thread {} initialised the mbarrier at {}:{}, and no barrier of the block stands between that and "
      "this; put a __syncthreads() there",
      at(what, site), known.thread, known.site.file, known.site.line));
}

// Puts the new counts down; where nothing is pending any more, the phase is complete and the next one begins.
void update(std::uint64_t* barrier, Mbarrier& known, Counts counts) {
  if (counts.pending == 0 && counts.transactions == 0) {
    counts.parity ^= 1;
    counts.pending = counts.expected;
  }
  *barrier = known.word = pack(counts);
}

void add_transactions(Counts& counts, std::int64_t bytes, const std::string& where) {
  counts.transactions += bytes;
  if (counts.transactions > kMbarrierMaxTransactions || counts.transactions < -kMbarrierMaxTransactions)
    fail(fmt::format("{}: the transaction count becomes {}, beyond {} either way", where, counts.transactions,
                     kMbarrierMaxTransactions));
}

void take_arrivals(Counts& counts, unsigned count, const std::string& where) {
  if (count > counts.pending)
    fail(fmt::format("{}: {} arrival{} where the phase has {} of {} pending", where, count, count == 1 ? "" : "s",
                     counts.pending, counts.expected));
  counts.pending -= count;
}

void check_seen(const Mbarrier& known, bool by_async_proxy, const std::string& where) {
  if (by_async_proxy ? known.fenced : known.released) return;
  fail(fmt::format("{}: the mbarrier was initialised at {}:{}, but {} ({})", where, known.site.file, known.site.line,
                   by_async_proxy ? "no fence has shown that to the asynchronous proxy"
                                  : "nothing has shown that to the cluster's other blocks",
                   by_async_proxy ? "fence.mbarrier_init or fence.proxy.async, by the thread that initialised it"
                                  : "fence.mbarrier_init or a releasing barrier.cluster.arrive"));
}

// What a wait with this fault waits for, where its source names `parity`.
unsigned faulty_parity(SiteFault fault, unsigned parity, const char* what, Site site) {
  if (fault == SiteFault::phase_inverted) return parity ^ 1;
  if (fault != SiteFault::phase_stuck) return parity;
  const std::tuple here(running_rank(), running_thread(), site.file, site.line, what);
  return running_cluster(what, site).stuck_parities.try_emplace(here, parity).first->second;
}

}  // namespace

void emulate_mbarrier_init(std::uint64_t* barrier, unsigned count, Site site) {
  constexpr const char* kWhat = "mbarrier.init";
  Cluster& cluster = running_cluster(kWhat, site);
  check_shared(barrier, 8, 8, "mbarrier", kWhat, site);
  if (enter_site(kWhat, site)) return;
  if (count < 1 || count > kMbarrierMaxCount)
    fail(fmt::format("{}: a count of {} is not within 1 to {}", at(kWhat, site), count, kMbarrierMaxCount));
  const auto known = cluster.mbarriers.find(barrier);
  if (known != cluster.mbarriers.end())
    fail(fmt::format("{}: the mbarrier initialised at {}:{} is still valid here", at(kWhat, site),
                     known->second.site.file, known->second.site.line));
  Mbarrier made;
  made.word = pack({count, count, 0, 0});
  made.owner = running_rank();
  made.thread = running_thread();
  made.site = site;
  *barrier = made.word;
  cluster.mbarriers.emplace(barrier, made);
}

void emulate_mbarrier_inval(std::uint64_t* barrier, Site site) {
  constexpr const char* kWhat = "mbarrier.inval";
  find_seen(barrier, kWhat, site);
  if (!enter_site(kWhat, site)) running_cluster(kWhat, site).mbarriers.erase(barrier);
}

void emulate_mbarrier_arrive(std::uint64_t* barrier, unsigned count, unsigned bytes, bool remote, const char* what,
                             Site site) {
  Mbarrier& known = find_seen(barrier, what, site);
  if (known.owner != running_rank()) {
    if (!remote) fail(fmt::format("{}: the mbarrier lies in block {} of the cluster", at(what, site), known.owner));
    if (!running_cluster(what, site).running(known.owner))
      fail(fmt::format("{}: block {} of the cluster does not run any more", at(what, site), known.owner));
    check_seen(known, false, at(what, site));
  }
  if (enter_site(what, site)) return;
  Counts counts = unpack(known.word);
  if (bytes > kMbarrierMaxTransactions)
    fail(fmt::format("{}: {} bytes are more than {}", at(what, site), bytes, kMbarrierMaxTransactions));
  if (bytes > 0) add_transactions(counts, bytes, at(what, site));
  take_arrivals(counts, count, at(what, site));
  update(barrier, known, counts);
}

void emulate_mbarrier_complete_tx(std::uint64_t* barrier, unsigned bytes, Site site) {
  constexpr const char* kWhat = "mbarrier.complete_tx";
  find_seen(barrier, kWhat, site);
  if (!enter_site(kWhat, site)) complete_transactions(barrier, bytes, kWhat, site);
}

bool emulate_mbarrier_test_wait(std::uint64_t* barrier, unsigned parity, const char* what, Site site) {
  if (parity > 1) fail(fmt::format("{}: a parity is 0 or 1, not {}", at(what, site), parity));
  if (find_seen(barrier, what, site).owner != running_rank())
    fail(fmt::format("{}: a thread can wait only for an mbarrier of its own block", at(what, site)));
  const SiteFault fault = enter_phase_site(what, site);
  if (fault == SiteFault::left_out) return true;
  parity = faulty_parity(fault, parity, what, site);
  if (unpack(*barrier).parity != parity) {
    poll_succeeded();
    note_passed(what, site);
    return true;
  }
  poll_thread(what, site);
  if (unpack(find_seen(barrier, what, site).word).parity == parity) return false;
  note_passed(what, site);  // once, however often it looked
  return true;
}

void emulate_mbarrier_wait(std::uint64_t* barrier, unsigned parity, Site site) {
  while (!emulate_mbarrier_test_wait(barrier, parity, "mbarrier.try_wait.parity", site)) {
  }
  poll_succeeded();
}

void publish_mbarriers(bool to_async_proxy, bool to_cluster) {
  const unsigned rank = running_rank(), thread = running_thread();
  for (auto& [address, known] : running_cluster("fence", Site{}).mbarriers) {
    if (known.owner != rank || known.thread != thread) continue;
    known.fenced |= to_async_proxy;
    known.released |= to_cluster;
  }
}

void emulate_fence_mbarrier_init(Site site) {
  constexpr const char* kWhat = "fence.mbarrier_init";
  running_cluster(kWhat, site);
  if (!enter_site(kWhat, site)) publish_mbarriers(true, true);
}

void complete_transactions(std::uint64_t* barrier, std::uint64_t bytes, const char* what, Site site) {
  Mbarrier& known = find(barrier, what, site);
  Counts counts = unpack(known.word);
  add_transactions(counts, -static_cast<std::int64_t>(bytes), at(what, site));
  update(barrier, known, counts);
}

void arrive_for_copies(std::uint64_t* barrier, const char* what, Site site) {
  Mbarrier& known = find(barrier, what, site);
  Counts counts = unpack(known.word);
  take_arrivals(counts, 1, at(what, site));
  update(barrier, known, counts);
}

void check_mbarrier(const std::uint64_t* barrier, const char* what, Site site) {
  find_seen(barrier, what, site);
}

void check_mbarrier_for_copy(std::uint64_t* barrier, const char* what, Site site) {
  check_seen(find_seen(barrier, what, site), true, at(what, site));
}

}  // namespace weft::simt
