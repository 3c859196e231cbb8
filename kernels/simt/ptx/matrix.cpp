#include "kernels/simt/ptx/matrix.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/ptx/address.h"
#include "kernels/simt/ptx/mma_sum.h"
#include "kernels/simt/sync.h"

namespace weft::simt {
namespace {

constexpr unsigned kAllLanes = 0xffffffff;

void require_all(unsigned lanes) {
  if (lanes != kAllLanes) fail(fmt::format("it takes all 32 lanes of a warp, and only lanes {:#010x} came", lanes));
}

/// What a lane brings to ldmatrix or stmatrix.
struct TileArgument {
  std::uint32_t* tiles;
  unsigned char* row;  ///< 8 elements of 2 bytes
  int count;
  bool trans;
  const char* what;
  Site site;
};

/// Where element `half` (0: lower, 1: upper) of a lane's register lies within its tile.
struct Place {
  int row, column;
};
Place place_in_tile(int lane, int half, bool trans) {
  const int across = lane / 4, along = 2 * (lane % 4) + half;
  return trans ? Place{along, across} : Place{across, along};
}

/// Calls move(lane, tile's element in shared memory, its half of the lane's register) for every element of every tile.
template <class Move>
void each_element(void* const* arguments, Move move) {
  const auto* const lanes = reinterpret_cast<TileArgument* const*>(arguments);
  for (int lane = 0; lane < 32; ++lane) {
    for (int tile = 0; tile < lanes[lane]->count; ++tile) {
      for (int half = 0; half < 2; ++half) {
        const Place place = place_in_tile(lane, half, lanes[lane]->trans);
        unsigned char* const element = lanes[8 * tile + place.row]->row + 2 * place.column;
        // Little endian: the lower half of a register is its first two bytes.
        unsigned char* const in_register = reinterpret_cast<unsigned char*>(&lanes[lane]->tiles[tile]) + 2 * half;
        move(lane, element, in_register);
      }
    }
  }
}
static_assert(std::endian::native == std::endian::little);

void complete_ldmatrix(void* const* arguments, unsigned lanes) {
  require_all(lanes);
  each_element(arguments, [](int, unsigned char* element, unsigned char* half) { std::memcpy(half, element, 2); });
}

void complete_stmatrix(void* const* arguments, unsigned lanes) {
  require_all(lanes);
  const auto& leader = *static_cast<const TileArgument*>(arguments[0]);
  const unsigned first = running_thread() / 32 * 32;
  each_element(arguments, [&](int lane, unsigned char* element, unsigned char* half) {
    std::memcpy(element, half, 2);
    running_block->proxy().stored(first + static_cast<unsigned>(lane), element, leader.what, leader.site);
  });
}

void move_tiles(TileArgument argument, Completion complete) {
  if (static_cast<int>(lane_index()) < 8 * argument.count)
    check_shared(argument.row, 16, 16, "row's", argument.what, argument.site);
  warp_collective(argument.what, kAllLanes, &argument, complete, argument.site);
}

/// What a lane brings to mma. The results go to a place of their own, since d may be c, or even overlap a.
struct MmaArgument {
  const std::uint32_t* a;
  const std::uint32_t* b;
  const float* c;
  float d[4];
};

// Row g and column 2t of an accumulator's first element; its second is beside it, the other two 8 rows below.
struct Corner {
  int g, t;
};
Corner corner(int lane) {
  return {lane / 4, lane % 4};
}

template <class Operands>
void complete_mma(void* const* arguments, unsigned lanes) {
  require_all(lanes);
  const auto* const brought = reinterpret_cast<MmaArgument* const*>(arguments);
  float a[16][Operands::kDepth], b[Operands::kDepth][8], sums[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto [g, t] = corner(lane);
    Operands::unpack_a(brought[lane]->a, g, t, a);
    Operands::unpack_b(brought[lane]->b, g, t, b);
    for (int i = 0; i < 4; ++i) sums[g + i / 2 * 8][2 * t + i % 2] = brought[lane]->c[i];
  }
  add_products<16, 8, Operands::kDepth, Operands::kStep>(sums, a, b);
  for (int lane = 0; lane < 32; ++lane) {
    const auto [g, t] = corner(lane);
    for (int i = 0; i < 4; ++i) brought[lane]->d[i] = sums[g + i / 2 * 8][2 * t + i % 2];
  }
}

/// bf16, of depth 8 or 16: two neighbours in k share a register.
template <int kDepth_>
struct Bf16Operands {
  static constexpr int kDepth = kDepth_, kStep = 8;
  static void unpack_a(const std::uint32_t* registers, int g, int t, float (&a)[16][kDepth]) {
    for (int r = 0; r < kDepth / 4; ++r) {
      const int row = g + r % 2 * 8, column = 2 * t + r / 2 * 8;
      a[row][column] = bf16_low(registers[r]);
      a[row][column + 1] = bf16_high(registers[r]);
    }
  }
  static void unpack_b(const std::uint32_t* registers, int g, int t, float (&b)[kDepth][8]) {
    for (int r = 0; r < kDepth / 8; ++r) {
      const int row = 2 * t + r * 8;
      b[row][g] = bf16_low(registers[r]);
      b[row + 1][g] = bf16_high(registers[r]);
    }
  }
};

struct Tf32Operands {
  static constexpr int kDepth = 8, kStep = 4;
  static void unpack_a(const std::uint32_t* registers, int g, int t, float (&a)[16][kDepth]) {
    for (int r = 0; r < 4; ++r) a[g + r % 2 * 8][t + r / 2 * 4] = tf32_value(registers[r]);
  }
  static void unpack_b(const std::uint32_t* registers, int g, int t, float (&b)[kDepth][8]) {
    for (int r = 0; r < 2; ++r) b[t + r * 4][g] = tf32_value(registers[r]);
  }
};

template <class Operands>
void multiply(const char* what, float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c, Site site) {
  MmaArgument argument{a, b, c, {}};
  warp_collective(what, kAllLanes, &argument, complete_mma<Operands>, site);
  std::memcpy(d, argument.d, sizeof argument.d);
}

const char* name(bool store, int count, bool trans) {
  static constexpr const char* kNames[2][2][3] = {
      {{"ldmatrix.x1", "ldmatrix.x2", "ldmatrix.x4"}, {"ldmatrix.x1.trans", "ldmatrix.x2.trans", "ldmatrix.x4.trans"}},
      {{"stmatrix.x1", "stmatrix.x2", "stmatrix.x4"}, {"stmatrix.x1.trans", "stmatrix.x2.trans", "stmatrix.x4.trans"}}};
  return kNames[store][trans][count / 2];
}

}  // namespace

void emulate_ldmatrix(std::uint32_t* tiles, int count, bool trans, const void* row, Site site) {
  auto* const bytes = static_cast<unsigned char*>(const_cast<void*>(row));  // only read
  move_tiles({tiles, bytes, count, trans, name(false, count, trans), site}, complete_ldmatrix);
}

void emulate_stmatrix(void* row, const std::uint32_t* tiles, int count, bool trans, Site site) {
  auto* const registers = const_cast<std::uint32_t*>(tiles);  // only read
  move_tiles({registers, static_cast<unsigned char*>(row), count, trans, name(true, count, trans), site},
             complete_stmatrix);
}

void emulate_mma_m16n8k16_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c, Site site) {
  multiply<Bf16Operands<16>>("mma.m16n8k16.bf16", d, a, b, c, site);
}
void emulate_mma_m16n8k8_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c, Site site) {
  multiply<Bf16Operands<8>>("mma.m16n8k8.bf16", d, a, b, c, site);
}
void emulate_mma_m16n8k8_tf32(float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c, Site site) {
  multiply<Tf32Operands>("mma.m16n8k8.tf32", d, a, b, c, site);
}

// Adding half of the last kept bit to the magnitude rounds ties away from zero; a carry may reach infinity, as it
// should.
std::uint32_t emulate_cvt_rna_tf32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fffffffu;
  if (magnitude == 0x7f800000u) return bits;
  return (bits + 0x1000u) & 0xffffe000u;
}

}  // namespace weft::simt
