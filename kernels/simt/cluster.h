#pragma once
// The blocks of a cluster: they run at once, an OS thread each, but one at a time holds the turn and the others sleep.
// A block gives the turn up when its threads only wait, and when it has ended. So blocks of a cluster never race on
// each other's shared memory, a run repeats itself, and "nobody in the cluster can go on" is seen at once. A launch
// without clusters is one of clusters of one block. Internal to the machine; kernels see kernels/ptx/cluster.h.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernels/simt/ptx/async.h"
#include "kernels/simt/site.h"
#include "kernels/simt/vector_types.h"

namespace weft::simt {

class BlockRunner;

/// What the machine knows of an mbarrier object beside its 64 bits (ptx/mbarrier.cpp).
struct Mbarrier {
  /// Who is behind a barrier with the thread that initialised it, and so sees that it did.
  enum class SeenBy : unsigned char { thread, warp, block };

  std::uint64_t word = 0;  ///< what its memory must hold: anything else was written there by other means
  unsigned owner = 0;      ///< the rank of the block in whose shared memory it lies
  unsigned thread = 0;     ///< that initialised it
  bool fenced = false;     ///< the asynchronous proxy sees that it is initialised
  bool released = false;   ///< and so do the cluster's other blocks
  SeenBy seen_by = SeenBy::thread;
  Site site;  ///< where it was initialised
};

/// A bulk copy that completes on an mbarrier, perhaps of several blocks.
struct BulkFlight {
  AsyncEngine* engine = nullptr;
  AsyncEngine::Ticket ticket = 0;
  std::uint32_t ranks = 0;  ///< bit set of the blocks into whose shared memory it writes
  const char* what = "";
  Site site;
};

class Cluster {
 public:
  static constexpr unsigned kMaxBlocks = 8;

  /// Gets ready for `size` blocks of `threads` threads each. Before any of them starts.
  void prepare(unsigned size, unsigned threads, std::uint64_t seed);
  /// Block `rank` is ready to run: waits for its turn. False where another block has failed before.
  bool enter(unsigned rank, BlockRunner& block);
  /// Every thread of block `rank` only waits: gives the turn to the next block and comes back with it. What the copy
  /// engine has under way lands when no block at all can go on. `progressed`: something happened in the block's turn.
  enum class Rest : unsigned char { go_on, failed_elsewhere, deadlock };
  Rest rest(unsigned rank, bool progressed);
  /// Block `rank` has ended; `error` is empty where all went well.
  void leave(unsigned rank, const std::string& error);

  unsigned size() const { return static_cast<unsigned>(blocks_.size()); }
  /// Block `rank`, while it runs: null before its first turn and after its end.
  BlockRunner* running(unsigned rank) const { return blocks_[rank]; }
  unsigned rank_of(const BlockRunner& block) const;
  /// What each of the other blocks waits for, for the report of a deadlock.
  std::string others(unsigned rank) const;

  /// barrier.cluster: `thread` of block `rank` arrives, and is told in which phase.
  void arrive(unsigned rank, unsigned thread, const char* what, Site site);
  bool has_arrived(unsigned rank, unsigned thread) const { return arrived_[rank * threads_ + thread]; }
  /// True once all have arrived; the thread may then arrive again.
  bool completed(unsigned rank, unsigned thread);
  void thread_left(unsigned rank, unsigned thread);

  /// Threads of block `rank` met in a barrier; lanes of one warp did, from thread `first` on, in a collective.
  void block_met(unsigned rank);
  void warp_met(unsigned rank, unsigned first);

  std::unordered_map<const void*, Mbarrier> mbarriers;
  std::vector<BulkFlight> flights;  ///< in the order of their issue
  /// What each thread (of rank, linear index) named when it first came to a wait whose phase a test has made stuck.
  std::map<std::tuple<unsigned, unsigned, std::string_view, int, std::string_view>, unsigned> stuck_parities;

 private:
  void pass_turn(unsigned rank);
  bool land_one();
  void complete_barrier();

  std::mutex mutex_;
  std::condition_variable turned_;
  std::vector<BlockRunner*> blocks_;
  std::vector<unsigned> order_;  ///< the turn goes round in this order
  std::vector<bool> ended_;
  unsigned turn_ = 0;        ///< whose it is: a rank
  unsigned idle_turns_ = 0;  ///< in which nothing happened, one after another
  bool failed_ = false;

  unsigned threads_ = 0;
  unsigned live_ = 0;     ///< threads of the cluster that have not left
  unsigned waiting_ = 0;  ///< of them, those that have arrived
  std::uint64_t phase_ = 0;
  std::vector<char> arrived_;  ///< by thread: has arrived and not yet waited
  std::vector<std::uint64_t> arrival_phase_;
};

/// The cluster of the running block, and its rank there. Throws weft::Error outside a kernel.
Cluster& running_cluster(const char* what, Site site);
unsigned running_rank();

}  // namespace weft::simt
