#include "kernels/simt/ptx/wgmma.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/ptx/mma_sum.h"
#include "kernels/simt/ptx/wgmma_operand.h"
#include "kernels/simt/ptx/wgmma_state.h"
#include "kernels/simt/static_shared.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

constexpr int kRows = 16;  // of D, a warp's share

std::string at(const char* what, Site site) {
  return fmt::format("{} at {}:{}", what, site.file, site.line);
}

WgmmaState& state_of_block(const char* what, Site site) {
  BlockAsync& async = block_async(what, site);
  if (!async.wgmma) {
    async.wgmma = std::make_shared<WgmmaState>();
    async.wgmma->threads.resize(running_block->thread_count());
    async.wgmma->warps.resize((running_block->thread_count() + 31) / 32);
    async.wgmma->log.start_block(running_block->thread_count());
  }
  return *async.wgmma;
}

WgmmaAccumulators* find(WgmmaThread& thread, const float* registers) {
  for (WgmmaAccumulators& of : thread.accumulators)
    if (of.registers == registers) return &of;
  return nullptr;
}

/// A product with all that its warp needs of its lanes.
struct WarpProduct {
  WgmmaProduct product;
  BlockRunner* block = nullptr;
  int warp = 0;  // within the warpgroup
  float* values[32] = {};
  std::array<std::uint32_t, 4> a[32] = {};
};

/// A (16 x depth) from the lanes' registers. PTX ISA, figures of "Register Fragments": with g = lane / 4 and t = lane %
/// 4, register r holds row g, or g + 8 where r is odd, and from r = 2 on the second half of K.
void read_fragments(const WarpProduct& of, int depth, float* to) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 4; ++r) {
      const std::uint32_t bits = of.a[lane][r];
      const int row = lane / 4 + r % 2 * 8, k = r / 2 * depth / 2;
      if (of.product.type == WgmmaType::tf32) {
        to[row * depth + k + lane % 4] = tf32_value(bits);
      } else {
        to[row * depth + k + lane % 4 * 2] = bf16_low(bits);
        to[row * depth + k + lane % 4 * 2 + 1] = bf16_high(bits);
      }
    }
  }
}

template <int kN, int kDepth, int kStep>
void multiply(const WarpProduct& of) {
  static thread_local float sums[kRows][kN], a[kRows][kDepth], b_rows[kN][kDepth], b[kDepth][kN];
  const WgmmaProduct& product = of.product;
  const MatrixDescriptor b_at = decode(product.b_descriptor, "wgmma", Site{});
  const MatrixDescriptor a_at = product.a ? MatrixDescriptor{} : decode(product.a_descriptor, "wgmma", Site{});
  if (product.a) read_fragments(of, kDepth, &a[0][0]);
  if constexpr (kDepth == kTf32Depth) {
    if (!product.a) read_tf32(*of.block, a_at, of.warp * kRows, kRows, &a[0][0]);
    read_tf32(*of.block, b_at, 0, kN, &b_rows[0][0]);
  } else {
    if (!product.a) read_bf16(*of.block, a_at, product.a_transposed, of.warp * kRows, kRows, &a[0][0]);
    read_bf16(*of.block, b_at, product.b_transposed, 0, kN, &b_rows[0][0]);
  }
  for (int n = 0; n < kN; ++n)
    for (int k = 0; k < kDepth; ++k) b[k][n] = b_rows[n][k];
  // D: register 4 j + r of a lane holds row lane / 4, or 8 more from r = 2 on, and column 8 j + lane % 4 * 2 + r % 2.
  const auto place = [&](int lane, int i) -> float& {
    return sums[lane / 4 + i % 4 / 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2];
  };
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < kN / 2; ++i) place(lane, i) = product.scale_d ? of.values[lane][i] : 0.0f;
  add_products<kRows, kN, kDepth, kStep>(sums, a, b);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < kN / 2; ++i) of.values[lane][i] = place(lane, i);
}

template <int kDepth, int kStep>
void multiply_any(const WarpProduct& of) {
  switch (of.product.n) {
    case 64:
      return multiply<64, kDepth, kStep>(of);
    case 128:
      return multiply<128, kDepth, kStep>(of);
    case 192:
      return multiply<192, kDepth, kStep>(of);
    case 256:
      return multiply<256, kDepth, kStep>(of);
  }
  fail(fmt::format("wgmma with N = {} is not emulated", of.product.n));
}

/// What a lane brings to the collective.
struct LaneArgument {
  const WgmmaProduct* product;
  const char* what;
  Site site;
};

bool is_poison(const float* registers, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    if (std::bit_cast<std::uint32_t>(registers[i]) != kPoison) return false;
  return true;
}

/// PTX ISA, wgmma.fence: it must stand between a thread's access to registers and a product that uses them.
void check_unwritten(const WgmmaThread& thread, const char* what, const void* registers, std::size_t count) {
  const std::optional<std::size_t> changed = thread.at_fence.first_changed(registers, count);
  if (changed)
    fail(fmt::format("register {} of {} was written since the thread's last wgmma.fence; the fence must come after it",
                     *changed, what));
}

/// The lane's accumulators, taken over by the machine.
WgmmaAccumulators& take_accumulators(WgmmaThread& thread, const LaneArgument& lane) {
  const auto count = static_cast<std::size_t>(lane.product->n) / 2;
  WgmmaAccumulators* of = find(thread, lane.product->d);
  if (of) {
    if (of->values.size() != count)
      fail("products of different shapes in the same accumulators, with no wait between them");
    if (!is_poison(of->registers, count)) fail("the accumulators were written while a product in them is under way");
  } else {
    if (!thread.fenced) fail("no wgmma.fence since the thread's last wait: its registers may still be in use");
    // Where they are not read, they may as well begin here, in memory that something else had at the fence.
    if (lane.product->scale_d) check_unwritten(thread, "the accumulators", lane.product->d, count);
    thread.accumulators.push_back({lane.product->d, {lane.product->d, lane.product->d + count}, 0});
    of = &thread.accumulators.back();
    fill_poison(of->registers, count * sizeof(float));
  }
  ++of->products;
  thread.open.accumulators.push_back(of->registers);
  return *of;
}

/// The lane's registers of A, which must stay as they are until its wait.
std::array<std::uint32_t, 4> take_fragment(WgmmaThread& thread, const std::uint32_t* registers) {
  WgmmaFragment fragment{registers, {}};
  check_unwritten(thread, "A", registers, fragment.bits.size());
  copy_words(registers, fragment.bits.size(), fragment.bits.data());
  thread.open.fragments.push_back(fragment);
  return fragment.bits;
}

/// PTX ISA, wgmma.mma_async: "contents of a matrix descriptor must be same across all the warps in the warpgroup", and
/// the instruction, with the predicate that it stands under, is .aligned.
void check_lanes_alike(const WgmmaProduct& leader, const WgmmaProduct& lane) {
  const auto differ = [&](const char* what) { fail(fmt::format("the lanes of a warp bring different {}", what)); };
  if ((lane.a == nullptr) != (leader.a == nullptr) || (!lane.a && lane.a_descriptor != leader.a_descriptor))
    differ("descriptors of A");
  if (lane.b_descriptor != leader.b_descriptor) differ("descriptors of B");
  if (lane.scale_d != leader.scale_d) differ("scales of D");
}

/// The same between warps, which the log has seen to execute the same products so far.
void add_scale(WgmmaState& state, unsigned warp, bool scale) {
  const std::size_t number = state.warps[warp].scales.size();
  state.warps[warp].scales.push_back(scale);
  for (unsigned other = warp / 4 * 4; other < warp / 4 * 4 + 4; ++other) {
    const std::vector<bool>& theirs = state.warps[other].scales;
    if (number < theirs.size() && theirs[number] != scale)
      fail(fmt::format("the warps of a warpgroup bring different scales of D: warp {} {:d}, warp {} {:d}", warp, scale,
                       other, !scale));
  }
}

// The last lane has come: all 32 issue their product as one operation.
void issue(void* const* arguments, unsigned lanes) {
  if (lanes != ~0u) fail("not all 32 lanes of the warp take part");
  const auto lane_argument = [&](int lane) -> const LaneArgument& {
    return *static_cast<const LaneArgument*>(arguments[lane]);
  };
  const LaneArgument& leader = lane_argument(0);
  WgmmaState& state = state_of_block(leader.what, leader.site);
  const unsigned warp = running_thread() / 32;
  for (int lane = 1; lane < 32; ++lane) check_lanes_alike(*leader.product, *lane_argument(lane).product);
  auto of = std::make_shared<WarpProduct>();
  of->product = *leader.product;
  of->block = running_block;
  of->warp = static_cast<int>(warp % 4);
  state.log.add(warp, {leader.what, leader.site, leader.product->a ? 0 : leader.product->a_descriptor,
                       leader.product->b_descriptor});
  add_scale(state, warp, leader.product->scale_d);
  for (int lane = 0; lane < 32; ++lane) {
    const LaneArgument& mine = lane_argument(lane);
    WgmmaThread& thread = state.threads[warp * 32 + static_cast<unsigned>(lane)];
    of->values[lane] = take_accumulators(thread, mine).values.data();
    if (mine.product->a) of->a[lane] = take_fragment(thread, mine.product->a);
  }
  // Products in the same accumulators are done in the order of their issue; a warp's are all kept in order here.
  AsyncEngine& engine = block_async(leader.what, leader.site).engine;
  const AsyncEngine::Ticket before = state.warps[warp].last;
  const auto perform = [of, before, &engine] {
    engine.complete(before);
    if (of->product.type == WgmmaType::tf32)
      multiply_any<kTf32Depth, 4>(*of);
    else
      multiply_any<kBf16Depth, 8>(*of);
  };
  const AsyncEngine::Ticket ticket = engine.issue(
      {.what = leader.what, .site = leader.site, .destination = {}, .perform = perform, .end = AsyncEnd::dropped});
  state.warps[warp].last = ticket;
  state.warps[warp].open.push_back(ticket);
}

}  // namespace

void emulate_wgmma(const WgmmaProduct& product, const char* what, Site site) {
  decode(product.b_descriptor, what, site);
  if (!product.a) decode(product.a_descriptor, what, site);
  LaneArgument argument{&product, what, site};
  warp_collective(what, ~0u, &argument, issue, site);
}

void emulate_wgmma_fence(Site site) {
  constexpr const char* kWhat = "wgmma.fence";
  WgmmaState& state = state_of_block(kWhat, site);
  if (enter_site(kWhat, site)) return;
  meet_in_warpgroup(state.log, kWhat, site);
  WgmmaThread& thread = state.threads[running_thread()];
  thread.fenced = true;
  thread.at_fence.take();
}

void emulate_wgmma_commit_group(Site site) {
  constexpr const char* kWhat = "wgmma.commit_group";
  WgmmaState& state = state_of_block(kWhat, site);
  if (enter_site(kWhat, site)) return;
  meet_in_warpgroup(state.log, kWhat, site);
  WgmmaThread& thread = state.threads[running_thread()];
  thread.closed.push_back(std::exchange(thread.open, {}));
  WgmmaWarp& warp = state.warps[running_thread() / 32];
  const std::size_t groups = thread.waited + thread.closed.size();
  if (warp.groups.size() < groups) warp.groups.push_back(std::exchange(warp.open, {}));  // the first lane to come
}

namespace {

/// The thread's oldest group has landed: its registers are the thread's again, but those that later groups use too.
void give_back(WgmmaThread& thread, const char* what, Site site) {
  for (const WgmmaFragment& fragment : thread.closed.front().fragments) {
    std::array<std::uint32_t, 4> bits;
    copy_words(fragment.registers, bits.size(), bits.data());
    if (bits != fragment.bits)
      fail(
          fmt::format("{}: registers of A were written while a product that reads them was under way", at(what, site)));
  }
  for (float* registers : thread.closed.front().accumulators) {
    WgmmaAccumulators& of = *find(thread, registers);
    if (--of.products > 0) continue;
    if (!is_poison(of.registers, of.values.size()))
      fail(fmt::format("{}: the accumulators were written while a product in them was under way", at(what, site)));
    std::copy(of.values.begin(), of.values.end(), of.registers);
    thread.accumulators.erase(std::find_if(thread.accumulators.begin(), thread.accumulators.end(),
                                           [&](const WgmmaAccumulators& other) { return &other == &of; }));
  }
  thread.closed.pop_front();
  ++thread.waited;
}

}  // namespace

void emulate_wgmma_wait_group(unsigned pending, Site site) {
  constexpr const char* kWhat = "wgmma.wait_group";
  WgmmaState& state = state_of_block(kWhat, site);
  if (enter_site(kWhat, site)) return;
  meet_in_warpgroup(state.log, kWhat, site);
  WgmmaThread& thread = state.threads[running_thread()];
  thread.fenced = false;
  while (thread.closed.size() > pending) {
    const std::size_t group = thread.waited, first = running_thread() / 128 * 4;
    const std::size_t last = std::min(first + 4, state.warps.size());
    const auto committed = [&] {
      for (std::size_t warp = first; warp < last; ++warp)
        if (state.warps[warp].groups.size() <= group) return false;
      return true;
    };
    if (!committed()) wait_until(committed, kWhat, site);
    for (std::size_t warp = first; warp < last; ++warp)
      for (const AsyncEngine::Ticket ticket : std::exchange(state.warps[warp].groups[group], {}))
        block_async(kWhat, site).engine.complete(ticket);
    give_back(thread, kWhat, site);
  }
}

void check_wgmma(const WgmmaState& state) {
  state.log.check();
}

}  // namespace weft::simt
