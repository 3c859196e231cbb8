#pragma once
// A block's dynamic shared memory as the asynchronous proxy sees it: bulk copies and wgmma read this view, threads the
// memory itself. What the proxy writes, both see. What threads write, the view shows once fence.proxy.async has brought
// it up to date; a copy or a product that reads anything else is an error. PTX ISA, "Memory Consistency Model:
// Proxies"; "fence.proxy.async".
//
// A fence speaks for the thread that executes it. What is modelled of that:
//
//   stores that the machine performs (stmatrix)   by thread: each has its lanes' own marks, which only that lane's
//   fence
//                                                 takes away. Without it the view keeps what was there before.
//   plain C++ stores                              not by thread: the machine does not see them, and to compare all of
//                                                 shared memory at each change of threads would cost more than the
//                                                 kernels. A fence shows every plain store made up to then, whoever
//                                                 made it; one that is made after the last fence is not shown.
//
// So where only one of several threads with plain stores fences, the error appears under the schedules in which another
// of them runs after it: under seed 0 for the block's first thread, under some other seed for any. A store that leaves
// what lay there before is not missed either way.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/simt/site.h"

namespace weft::simt {

class ProxyView {
 public:
  /// A new block, with `bytes` of dynamic shared memory at `memory` and `threads` threads: the view is poison.
  void start_block(const void* memory, std::size_t bytes, std::size_t threads);
  unsigned char* data();

  /// `thread` stored 2 bytes at `address`, where that is in dynamic shared memory, in an instruction that the machine
  /// performs.
  void stored(unsigned thread, const void* address, const char* what, Site site);
  /// fence.proxy.async by `thread`.
  void fence(unsigned thread);
  /// The asynchronous proxy wrote here itself.
  void overwritten(std::size_t offset, std::size_t bytes);
  /// What the proxy reads here is what threads see. Throws weft::Error with the byte otherwise.
  void require_fenced(std::size_t offset, std::size_t bytes);

 private:
  struct Store {
    const char* what = "";
    Site site;
  };
  void allocate();
  bool marked(std::size_t offset, std::size_t bytes) const {
    return marks_ > 0 && offset < end_ * 2 && offset + bytes > first_ * 2;
  }
  void forget_marks() {
    marks_ = end_ = 0;
    first_ = std::numeric_limits<std::size_t>::max();
  }

  const unsigned char* memory_ = nullptr;
  std::size_t bytes_ = 0, threads_ = 0;
  std::vector<unsigned char> view_;     ///< empty until the block first uses the asynchronous proxy
  std::vector<std::uint16_t> writers_;  ///< by pair of bytes: thread + 1, 0 for none. Empty until the first mark
  std::vector<Store> last_stores_;      ///< by thread
  std::size_t marks_ = 0;               ///< how many there are, all within [first_, end_)
  std::size_t first_ = 0, end_ = 0;
};

}  // namespace weft::simt
