#include "kernels/simt/launches.h"

#include <atomic>
#include <mutex>
#include <set>
#include <utility>

#include "kernels/error.h"

namespace weft::simt {
namespace {

std::atomic<bool> watched{false};
std::atomic<std::size_t> static_shared{0};  // of the launch that runs: the most that one block came by

struct Noted {
  std::mutex mutex;
  std::set<LaunchShape> shapes;
};

Noted& noted() {
  static Noted* const instance = new Noted;  // lives as long as any worker
  return *instance;
}

}  // namespace

LaunchWatch::LaunchWatch() {
  if (watched.exchange(true)) fail("simt: launches are watched already; stop that LaunchWatch first");
}

LaunchWatch::~LaunchWatch() {
  stop();
}

std::vector<LaunchShape> LaunchWatch::stop() {
  if (std::exchange(stopped_, true)) return {};
  watched = false;
  Noted& all = noted();
  const std::lock_guard lock(all.mutex);
  const std::set<LaunchShape> shapes = std::exchange(all.shapes, {});
  return {shapes.begin(), shapes.end()};
}

bool launches_watched() {
  return watched.load(std::memory_order_relaxed);
}

void note_launch_begins() {
  static_shared = 0;
}

void note_static_shared(std::size_t bytes) {
  std::size_t most = static_shared.load(std::memory_order_relaxed);
  while (most < bytes && !static_shared.compare_exchange_weak(most, bytes, std::memory_order_relaxed)) {
  }
}

void note_launch(LaunchShape shape) {
  shape.static_shared_bytes = static_shared;
  Noted& all = noted();
  const std::lock_guard lock(all.mutex);
  all.shapes.insert(std::move(shape));
}

}  // namespace weft::simt
