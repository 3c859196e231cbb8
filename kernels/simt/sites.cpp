// The list of places that synchronise, and those to be skipped.
#include <atomic>
#include <mutex>
#include <set>
#include <tuple>

#include "kernels/simt/machine.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

struct Registry {
  std::mutex mutex;
  std::set<std::tuple<std::string, int, std::string>> seen;
  std::vector<SyncSite> skipped;
};

Registry& registry() {
  static Registry* const instance = new Registry;  // lives as long as any worker
  return *instance;
}

// Changes whenever what a thread has cached is out of date.
std::atomic<unsigned> epoch{1};

struct CacheEntry {
  const char* file;
  const char* what;
  int line;
  unsigned epoch;
  bool skip;
};
constexpr unsigned kCacheEntries = 64;
thread_local constinit CacheEntry cache[kCacheEntries] = {};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool look_up(const char* what, Site site) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.seen.emplace(site.file, site.line, what);
  for (const SyncSite& skipped : all.skipped) {
    const bool same_kind = skipped.what.empty() || skipped.what == what;
    if (same_kind && skipped.line == site.line && ends_with(site.file, skipped.file)) return true;
  }
  return false;
}

}  // namespace

bool enter_site(const char* what, Site site) {
  CacheEntry& entry =
      cache[(static_cast<unsigned>(site.line) * 7 + reinterpret_cast<std::uintptr_t>(site.file)) % kCacheEntries];
  const unsigned now = epoch.load(std::memory_order_relaxed);
  if (entry.file != site.file || entry.line != site.line || entry.what != what || entry.epoch != now) {
    entry = {site.file, what, site.line, now, look_up(what, site)};
  }
  return entry.skip;
}

std::vector<SyncSite> sync_sites() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  std::vector<SyncSite> sites;
  for (const auto& [file, line, what] : all.seen) sites.push_back({file, line, what});
  return sites;
}

void forget_sync_sites() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.seen.clear();
  ++epoch;
}

void skip_sync_site(const std::string& file, int line, const std::string& what) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.skipped.push_back({file, line, what});
  ++epoch;
}

void clear_skipped_sync_sites() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.skipped.clear();
  ++epoch;
}

}  // namespace weft::simt
