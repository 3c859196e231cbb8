#pragma once
// A peer is a library that computes the same call: cuBLAS, cuDNN, oneDNN. It attaches to an op by Op::peer
// ("cublas:gemm"), so that kernels/ never sees it, and is opened at run time, so that a program starts without it.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/call.h"
#include "bench/cases.h"

namespace weft::bench {

/// Seconds that a call's choice may take unless told otherwise. cuDNN's heuristics propose 10 to 40 configurations of a
/// convolution, of which some take a few tenths of a second to compile.
inline constexpr double kSearchSeconds = 10;

/// A call as a library runs it.
struct PeerCall {
  std::string algorithm;                    ///< what it chose: "engine 34", "the 5th of 18"
  std::function<void(int set)> run;         ///< enqueues it on the operands of that set
  std::vector<std::string> unwritten = {};  ///< outputs of ours that the library has no counterpart for
  std::function<void()> collect =
      nullptr;             ///< brings the results to set 0's operands, where run() leaves them elsewhere
  bool cut_short = false;  ///< the time was up before every algorithm that the library proposes had been tried
};

class Peer {
 public:
  virtual ~Peer() = default;
  /// "cuDNN 9.19.0".
  virtual std::string name() const = 0;
  /// The call of a case, in the library's best form for it: where there is a choice of algorithms, each that it
  /// proposes is tried on set 0 and the fastest kept. Empty where it has no such op. Throws Error where it has, and
  /// fails.
  virtual std::optional<PeerCall> prepare(const Case& item, const Call& call, Clock& clock) = 0;
};

/// The peers of a place. What is left out is said in `said`, a line each. `search_seconds`: what a call's choice among
/// algorithms may take where some are compiled when they are asked for (cuDNN's convolutions).
std::vector<std::unique_ptr<Peer>> open_peers(const Place& place, std::vector<std::string>& said,
                                              double search_seconds = kSearchSeconds);

/// The median seconds of a few runs of `run` after a warm-up: for a peer's choice among its algorithms.
double quick_time(Clock& clock, const std::function<void()>& run);

/// "gemm" of the op's "cublas:gemm", where `library` is "cublas"; empty for another library's op.
std::string peer_function(const Op& op, const std::string& library);

// One for each library; null where the program was built without its headers or it cannot be opened, and then a line
// in `said`.
std::unique_ptr<Peer> open_cublas(const Place& place, std::vector<std::string>& said);
std::unique_ptr<Peer> open_cudnn(const Place& place, std::vector<std::string>& said, double search_seconds);
std::unique_ptr<Peer> open_onednn(std::vector<std::string>& said);

}  // namespace weft::bench
