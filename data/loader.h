#pragma once
// Batches of a data set, made by threads while the consumer works on the batch before.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/dataset.h"

namespace weft {

/// Some items side by side. Handed to next() again, its memory is used again: clone() what is to be kept.
struct Batch {
  Tensor images;                 ///< (count, height, width, channels), float32
  Tensor labels;                 ///< (count), int32
  std::vector<int64_t> indices;  ///< (count) into the data set; dataset.name(indices[i]) is the item's file
  int64_t number = 0;            ///< which batch of its epoch this is
  int64_t count() const { return int64_t(indices.size()); }
};

/// What becomes of an item that cannot be read while an epoch runs. Each is counted and warned of.
enum class OnFailure {
  replace,  ///< the nearest later item of the same class stands in (around the end), so that batches keep their size
  skip,     ///< the batch is smaller by one; an empty one is passed over
  raise     ///< next() throws the item's Error
};

struct LoaderOptions {
  int64_t batch = 64;
  bool shuffle = false;    ///< another order every epoch, by (seed, epoch)
  bool drop_last = false;  ///< leave out a last batch that is not full; otherwise it is smaller
  int threads = 0;         ///< 0: as many as cores. Never part of the result
  /// Batches that may lie ready or in work: the bound of the queue. 0: the threads work only while next() waits, for a
  /// consumer that computes on the same cores; side by side, each would only hold up the other.
  int ahead = 3;
  uint64_t seed = 0;
  OnFailure on_failure = OnFailure::replace;
  /// Gets a line for each of the first ten items that could not be read. Called by the consumer's thread, inside
  /// next(). Empty: standard error.
  std::function<void(const std::string&)> warn;
};

/// Gives the batches of one epoch after another. What a batch holds depends on the data set, the options above but
/// `threads` and `ahead`, and the epoch; never on timing. Used by one thread.
class Loader {
 public:
  /// Throws Error for an empty data set or a batch below 1.
  Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options = {});
  /// Gives up what is in work: waits for at most one item on each thread.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Batches in an epoch.
  int64_t batches() const;
  /// Begins an epoch (0, 1, ...), at its batch `first`; an epoch under way is given up.
  void start(int64_t epoch, int64_t first = 0);
  /// Fills `batch` with the next one and returns true; false at the epoch's end. Errors of the threads come out here.
  bool next(Batch& batch);

  /// Seconds that next() has waited for the threads, since construction.
  double seconds_waited() const;
  /// Items that could not be read, since construction.
  int64_t failures() const;
  const Dataset& dataset() const;

  /// The order in which an epoch visits the items: a permutation of 0 to size - 1 by Philox, keyed by seed and epoch
  /// (Fisher-Yates: Knuth, The Art of Computer Programming 2, 3.4.2, algorithm P).
  static std::vector<int64_t> order(int64_t size, bool shuffle, uint64_t seed, int64_t epoch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weft
