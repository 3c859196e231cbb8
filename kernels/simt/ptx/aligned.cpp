#include "kernels/simt/ptx/aligned.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

std::string at(const char* what, Site site) {
  return fmt::format("{} at {}:{}", what, site.file, site.line);
}

/// What the lane came by before the instruction that it has come to now.
std::string passed(const WarpPath& path) {
  return path.before_last.what == nullptr ? "nothing" : at(path.before_last.what, path.before_last.site);
}

// The last lane has come: all came by the same, or the warp has diverged.
void complete_aligned(void* const* arguments, unsigned lanes) {
  const int first = std::countr_zero(lanes);
  const auto& of_first = *static_cast<const WarpPath*>(arguments[first]);
  for (unsigned rest = lanes; rest; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const auto& path = *static_cast<const WarpPath*>(arguments[lane]);
    if (path.hash == of_first.hash) continue;
    fail(
        fmt::format("the warp has diverged, and this is .aligned without .sync: since its lanes were together, lane {} "
                    "came by {} last, lane {} by {}; put a __syncwarp() before it",
                    first, passed(of_first), lane, passed(path)));
  }
}

void complete_whole_warp(void* const*, unsigned lanes) {
  const std::size_t begun = running_block->thread_count() - running_thread() / 32 * 32;
  if (std::popcount(lanes) == static_cast<int>(std::min<std::size_t>(begun, 32))) return;
  fail(fmt::format("a barrier counts whole warps, and of this one only lanes {:#010x} come", lanes));
}

struct LogArgument {
  WarpgroupLog* log;
  WarpgroupLog::Entry entry;
};

void complete_in_warpgroup(void* const* arguments, unsigned lanes) {
  if (lanes != ~0u) fail("not all 32 lanes of the warp take part");
  const auto& argument = *static_cast<const LogArgument*>(arguments[0]);
  argument.log->add(running_thread() / 32, argument.entry);
}

}  // namespace

void meet_aligned(const char* what, Site site) {
  if (!running_block) fail(fmt::format("simt: {} outside a kernel", at(what, site)));
  WarpPath path = running_block->current().path;
  warp_collective(what, ~0u, &path, complete_aligned, site);
}

void meet_whole_warp(const char* what, Site site) {
  warp_collective(what, ~0u, nullptr, complete_whole_warp, site);
}

void note_passed(const char* what, Site site) {
  if (running_block) running_block->passed(what, site);
}

void meet_in_warpgroup(WarpgroupLog& log, const char* what, Site site) {
  LogArgument argument{&log, {what, site}};
  warp_collective(what, ~0u, &argument, complete_in_warpgroup, site);
}

void WarpgroupLog::add(unsigned warp, const Entry& entry) {
  const unsigned first = warp / 4 * 4;
  if (first + 4 > warps_.size()) fail("the last warpgroup of the block has fewer than four warps");
  const std::size_t number = warps_[warp].size();
  warps_[warp].push_back(entry);
  for (unsigned other = first; other < first + 4; ++other) {
    if (number >= warps_[other].size()) continue;
    const Entry& theirs = warps_[other][number];
    const bool same_place = entry.site == theirs.site && entry.what == theirs.what;
    if (same_place && entry.a_descriptor == theirs.a_descriptor && entry.b_descriptor == theirs.b_descriptor) continue;
    fail(fmt::format(
        "the warps of a warpgroup execute different instructions: warp {} comes to {}{}, warp {} {}", warp,
        at(entry.what, entry.site),
        same_place ? fmt::format(" with descriptors {:#x} and {:#x}", entry.a_descriptor, entry.b_descriptor) : "",
        other,
        same_place ? fmt::format("with {:#x} and {:#x}", theirs.a_descriptor, theirs.b_descriptor)
                   : "came to " + at(theirs.what, theirs.site)));
  }
}

bool WarpgroupLog::others_caught_up(unsigned warp) const {
  const std::size_t first = warp / 4 * 4, end = std::min(first + 4, warps_.size());
  for (std::size_t other = first; other < end; ++other)
    if (warps_[other].size() < warps_[warp].size()) return false;
  return true;
}

void WarpgroupLog::check() const {
  for (std::size_t warp = 0; warp < warps_.size(); ++warp) {
    const std::size_t first = warp / 4 * 4;
    if (warps_[warp].size() == warps_[first].size()) continue;
    const std::size_t shorter = warps_[warp].size() < warps_[first].size() ? warp : first;
    const std::size_t longer = shorter == warp ? first : warp;
    const Entry& missing = warps_[longer][warps_[shorter].size()];
    fail(fmt::format("warp {} never came to {}, which warp {} of its warpgroup executed", shorter,
                     at(missing.what, missing.site), longer));
  }
}

}  // namespace weft::simt
