#include <algorithm>
#include <cstring>

#include "bench/peers/peer.h"

namespace weft::bench {

std::vector<std::unique_ptr<Peer>> open_peers(const Place& place, std::vector<std::string>& said,
                                              [[maybe_unused]] double search_seconds) {
  std::vector<std::unique_ptr<Peer>> peers;
  const auto keep = [&](std::unique_ptr<Peer> peer) {
    if (peer != nullptr) peers.push_back(std::move(peer));
  };
  if (place.on_gpu()) {
#if WEFT_BENCH_CUBLAS
    keep(open_cublas(place, said));
#else
    said.push_back("cuBLAS is left out: its headers were not there when this was built");
#endif
#if WEFT_BENCH_CUDNN
    keep(open_cudnn(place, said, search_seconds));
#else
    said.push_back("cuDNN is left out: its headers were not there when this was built");
#endif
  } else {
#if WEFT_WITH_CPU
    keep(open_onednn(said));
#else
    said.push_back("oneDNN is left out: this was built without the cpu device");
#endif
  }
  return peers;
}

double quick_time(Clock& clock, const std::function<void()>& run) {
  run();
  std::vector<double> seconds;
  for (int i = 0; i < 5; ++i) seconds.push_back(clock.seconds(run));
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

std::string peer_function(const Op& op, const std::string& library) {
  if (op.peer == nullptr || !std::string(op.peer).starts_with(library + ":")) return "";
  return op.peer + library.size() + 1;
}

}  // namespace weft::bench
