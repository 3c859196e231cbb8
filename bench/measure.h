#pragma once
// One measurement: a rung, or a peer, on one call. Verified before and after on the buffers that are timed.

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/ceilings.h"
#include "bench/peers/peer.h"
#include "bench/truth.h"

namespace weft::bench {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// A row of the results. NaN: not known.
struct Row {
  std::string op, dtype, shape, set, note;
  std::string who;  ///< the rung's name, or the peer's ("cuDNN 9.19.0")
  bool is_peer = false;
  std::string algorithm;   ///< that a peer chose
  bool cut_short = false;  ///< the peer's choice ended before it had tried all that its library proposes
  std::string arithmetic;  ///< "f32", "tf32", "bf16": which ceiling judges it
  int count = 1;           ///< how often this call occurs in its set
  double flops = 0, bytes = 0;
  int samples = 0, launches = 0;                               ///< samples taken, launches in each
  double seconds = kUnknown, low = kUnknown, high = kUnknown;  ///< of one launch: median, 10th and 90th percentile
  double ceiling_share = kUnknown;  ///< the least time that the ceilings allow over the time taken
  double peer_ratio = kUnknown;     ///< the peer's time over ours: above 1 is faster than the peer
  double error_before = kUnknown, error_after = kUnknown;  ///< ||got - exact|| / ||exact||
  double bound_before = kUnknown, bound_after = kUnknown;  ///< largest |got - exact| over the catalogue's bound
  std::string fault;  ///< what went wrong, or why the figure is not to be believed; empty: nothing
};

struct MeasureOptions {
  double seconds = 0.2;  ///< to spend on the samples of a measurement, about
  int samples = 20;
  int fewest = 3;      ///< samples, however slow the kernel is
  bool rotate = true;  ///< outgrow the cache by several sets of buffers
};

/// The buffers, the truth and the peers' calls of one case, made when its first measurement asks.
class Session {
 public:
  Session(const Place& place, Clock& clock, const Case& item, std::vector<std::unique_ptr<Peer>>& peers,
          const MeasureOptions& options, const Ceilings& ceilings);

  /// Measures a rung. Throws nothing: what goes wrong is the row's fault.
  Row measure(const Rung& rung);
  /// Measures the peer that has this op; empty where none has.
  std::optional<Row> measure_peer();

  const Case& item() const { return item_; }

 private:
  struct Work {
    std::function<void(int set)> run;
    std::function<void()> collect;
    std::vector<std::string> unwritten;
    double slack = 1;
  };
  Row row_of(const std::string& who) const;
  void measure(Row& row, const Work& work);
  void take_samples(Row& row, const Work& work);

  const Place& place_;
  Clock& clock_;
  const Case& item_;
  std::vector<std::unique_ptr<Peer>>& peers_;
  MeasureOptions options_;
  const Ceilings& ceilings_;
  Call call_;
  Truth truth_;
  double peer_seconds_ = kUnknown;
};

}  // namespace weft::bench
