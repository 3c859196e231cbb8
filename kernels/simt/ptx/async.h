#pragma once
// Operations that go on while their thread does something else: cp.async, bulk copies, wgmma. What every such
// instruction shares: its destination is undefined until a wait has made sure of it, so that a kernel which forgets to
// wait, or writes where others still read, must be seen to fail.
//
// When an operation is issued, its destination is filled with poison (NaN): whoever still reads what lay there, or
// already reads what is to come, sees it. It lands, that is, reads its source and writes its destination, as late as
// the ISA allows: under schedule seed 0 at the very wait that guarantees it, and never where nobody waits; under any
// other seed at a random point between its issue and that wait, the same one whenever the seed is the same.
//
// An instruction's emulation keeps the Ticket that issue() gives it with whatever its wait looks at (a thread's groups,
// an mbarrier) and calls complete() there. All of it belongs to one block and its OS thread: no locks.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "kernels/simt/ptx/aligned.h"
#include "kernels/simt/site.h"

namespace weft::simt {

/// Memory that an operation will write.
struct AsyncRange {
  void* data;
  std::size_t bytes;
};

/// What happens to an operation that nobody waited for when its thread or its block ends.
enum class AsyncEnd : unsigned char {
  dropped,    ///< with its block: what it would write (shared memory) or read (a store's source) is gone
  performed,  ///< its source is safe (global memory, or a value kept in `perform`): its result appears after all
  leaves_with_thread,  ///< it writes the registers of the thread that issued it
};

struct AsyncOperation {
  const char* what;  ///< the instruction, for messages
  Site site;
  std::vector<AsyncRange> destination;  ///< poisoned at issue
  std::function<void()> perform;        ///< reads the source, writes the destination; an exception ends the launch
  AsyncEnd end = AsyncEnd::dropped;
};

class AsyncEngine {
 public:
  /// Names one operation of this block; never used twice.
  using Ticket = std::uint64_t;

  /// Starts an operation.
  Ticket issue(AsyncOperation operation);
  /// Makes the operation land now, unless it has.
  void complete(Ticket ticket);
  bool in_flight(Ticket ticket) const;

  /// The machine's side. A new block: nothing is under way. `block` is its index, linear.
  void start_block(std::uint64_t seed, std::uint64_t block);
  /// Something happened: what was to land by now does.
  void tick() {
    if (!due_.empty()) land_due();
  }
  /// `thread` (linear) has left the kernel.
  void leave(unsigned thread);
  /// Every thread has left: performs what is to be performed, drops the rest. Throws what an operation throws.
  void finish_block();
  /// Drops everything: the block has failed.
  void abandon();

 private:
  struct Flight {
    AsyncOperation operation;
    unsigned thread = 0;
    bool under_way = false;
  };
  struct Due {
    std::uint64_t time;
    Ticket ticket;
    bool operator>(const Due& other) const { return time > other.time; }
  };

  void land(Flight& flight);
  void land_due();
  std::uint64_t draw_delay();

  std::deque<Flight> flights_;  ///< from ticket first_ on
  Ticket first_ = 1;
  std::uint64_t now_ = 0;
  std::uint64_t seed_ = 0;
  std::uint64_t random_ = 0;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
};

/// A thread's operations in the groups that it commits them in: cp.async, bulk copies and wgmma all count groups alike.
class AsyncGroups {
 public:
  /// Adds an operation to the group that is still open.
  void add(AsyncEngine::Ticket ticket) { open_.push_back(ticket); }
  /// Closes the open group, which may be empty.
  void commit();
  /// Makes every closed group land but the `pending` newest.
  void wait(AsyncEngine& engine, std::size_t pending);
  /// The same for every closed group and for the open one.
  void wait_all(AsyncEngine& engine);
  /// Every operation of the thread that may still be under way.
  std::vector<AsyncEngine::Ticket> all() const;
  void clear();

 private:
  std::vector<AsyncEngine::Ticket> open_;
  std::deque<std::vector<AsyncEngine::Ticket>> closed_;
};

/// setmaxnreg's view of the block: what each thread holds, and what was given back and not yet taken.
struct RegisterPool {
  std::vector<unsigned> held;
  unsigned free = 0;
  WarpgroupLog log;  ///< of the block's setmaxnreg
};

/// A bulk store under way. Its source is read at some time, its destination written at a later one.
struct BulkStore {
  AsyncEngine::Ticket ticket = 0;
  std::function<void()> read;         ///< fills `source`, unless it is filled
  std::vector<unsigned char> source;  ///< as it was when it was read
  const char* what = "";
  Site site;
};

/// A thread's bulk stores in the groups that it commits them in.
struct BulkGroups {
  std::vector<std::shared_ptr<BulkStore>> open;
  std::deque<std::vector<std::shared_ptr<BulkStore>>> closed;
};

/// All that a block has under way.
struct BlockAsync {
  AsyncEngine engine;
  std::vector<AsyncGroups> copies;      ///< cp.async, by thread
  std::vector<BulkGroups> bulk_stores;  ///< by thread
  RegisterPool registers;
  std::shared_ptr<struct WgmmaState> wgmma;  ///< null until the block's first wgmma

  void start_block(std::uint64_t seed, std::uint64_t block, std::size_t threads);
};

/// Of the running block. Throws weft::Error outside a kernel.
BlockAsync& block_async(const char* what, Site site);
/// The running thread's index within its block, linear: x fastest.
unsigned running_thread();

}  // namespace weft::simt
