// The list of places that synchronise, and the faults that tests give them.
#include <atomic>
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/simt/machine.h"
#include "kernels/simt/ptx/aligned.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::tuple<std::string, int, std::string>, bool> seen;  // and whether it names a phase
  std::vector<std::pair<SyncSite, SiteFault>> faults;
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
  SiteFault fault;
};
constexpr unsigned kCacheEntries = 64;
thread_local constinit CacheEntry cache[kCacheEntries] = {};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

SiteFault look_up(const char* what, Site site, bool names_phase) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.seen.emplace(std::tuple(site.file, site.line, what), names_phase);
  for (const auto& [faulty, fault] : all.faults) {
    const bool same_kind = faulty.what.empty() || faulty.what == what;
    if (same_kind && faulty.line == site.line && ends_with(site.file, faulty.file)) return fault;
  }
  return SiteFault::none;
}

SiteFault enter(const char* what, Site site, bool names_phase) {
  CacheEntry& entry =
      cache[(static_cast<unsigned>(site.line) * 7 + reinterpret_cast<std::uintptr_t>(site.file)) % kCacheEntries];
  const unsigned now = epoch.load(std::memory_order_relaxed);
  if (entry.file != site.file || entry.line != site.line || entry.what != what || entry.epoch != now) {
    entry = {site.file, what, site.line, now, look_up(what, site, names_phase)};
  }
  return entry.fault;
}

}  // namespace

bool enter_site(const char* what, Site site) {
  if (enter(what, site, false) == SiteFault::left_out) return true;
  note_passed(what, site);
  return false;
}

SiteFault enter_phase_site(const char* what, Site site) {
  return enter(what, site, true);
}

std::vector<SyncSite> sync_sites() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  std::vector<SyncSite> sites;
  for (const auto& [place, names_phase] : all.seen) {
    const auto& [file, line, what] = place;
    sites.push_back({file, line, what, names_phase});
  }
  return sites;
}

void forget_sync_sites() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.seen.clear();
  ++epoch;
}

void set_site_fault(SiteFault fault, const std::string& file, int line, const std::string& what) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.faults.push_back({{file, line, what}, fault});
  ++epoch;
}

void clear_site_faults() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.faults.clear();
  ++epoch;
}

}  // namespace weft::simt
