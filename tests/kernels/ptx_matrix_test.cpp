// ldmatrix, stmatrix, mma.sync and cvt.rna.tf32 on simt against the PTX ISA's own words. The tables below are typed
// from its sections "Matrix Fragments for mma.m16n8k8", "... mma.m16n8k16 with floating point type", "ldmatrix" and
// "stmatrix", an element at a time, and share nothing with the emulation.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/ptx.h"

namespace weft::simt {
namespace {

// row = groupID + rows[i], col = threadID_in_group * column_step + columns[i], of element a_i; the same of c_i. For b_i
// row = threadID_in_group * row_step + rows[i], col = groupID. Elements are numbered from the lowest bits up.
struct Fragment {
  int count;       // elements of a lane
  int per_thread;  // what threadID_in_group is multiplied with
  int group_offset[8];
  int thread_offset[8];
};
constexpr Fragment kBf16A16 = {8, 2, {0, 0, 8, 8, 0, 0, 8, 8}, {0, 1, 0, 1, 8, 9, 8, 9}};
constexpr Fragment kBf16B16 = {4, 2, {0, 0, 0, 0}, {0, 1, 8, 9}};
constexpr Fragment kBf16A8 = {4, 2, {0, 0, 8, 8}, {0, 1, 0, 1}};
constexpr Fragment kBf16B8 = {2, 2, {0, 0}, {0, 1}};
constexpr Fragment kTf32A8 = {4, 1, {0, 8, 0, 8}, {0, 0, 4, 4}};
constexpr Fragment kTf32B8 = {2, 1, {0, 0}, {0, 4}};
constexpr Fragment kAccumulator = {4, 2, {0, 0, 8, 8}, {0, 1, 0, 1}};

int group_index(const Fragment& fragment, int lane, int i) {
  return (lane >> 2) + fragment.group_offset[i];
}
int thread_index(const Fragment& fragment, int lane, int i) {
  return lane % 4 * fragment.per_thread + fragment.thread_offset[i];
}

std::uint16_t bf16_bits(float value) {
  return __bfloat16_as_ushort(__float2bfloat16(value));
}

/// Row-major matrices of one mma.
struct Product {
  int depth;
  std::vector<float> a, b, c;
  explicit Product(int depth) : depth(depth), a(16 * depth), b(depth * 8), c(16 * 8) {}
};

/// Lays a product's operands into the registers of 32 lanes by the tables, runs the instruction, and collects D.
template <int kARegisters, int kBRegisters, class Instruction>
std::vector<float> multiply(const Product& product, const Fragment& in_a, const Fragment& in_b, bool tf32,
                            Instruction instruction) {
  std::uint32_t a[32][kARegisters] = {}, b[32][kBRegisters] = {};
  float c[32][4] = {}, d[32][4] = {};
  const auto put = [tf32](std::uint32_t* registers, int i, float value) {
    if (tf32)
      registers[i] = std::bit_cast<std::uint32_t>(value);
    else
      registers[i / 2] |= static_cast<std::uint32_t>(bf16_bits(value)) << (i % 2 * 16);
  };
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < in_a.count; ++i)
      put(a[lane], i, product.a[group_index(in_a, lane, i) * product.depth + thread_index(in_a, lane, i)]);
    for (int i = 0; i < in_b.count; ++i)
      put(b[lane], i, product.b[thread_index(in_b, lane, i) * 8 + group_index(in_b, lane, i)]);
    for (int i = 0; i < 4; ++i)
      c[lane][i] = product.c[group_index(kAccumulator, lane, i) * 8 + thread_index(kAccumulator, lane, i)];
  }
  run_grid(dim3(1), dim3(32), 0, [&] {
    const unsigned lane = threadIdx.x;
    instruction(d[lane], a[lane], b[lane], c[lane]);
  });
  std::vector<float> result(16 * 8, std::nanf(""));
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      result[group_index(kAccumulator, lane, i) * 8 + thread_index(kAccumulator, lane, i)] = d[lane][i];
  return result;
}

std::vector<float> mma_bf16_16(const Product& p) {
  return multiply<4, 2>(p, kBf16A16, kBf16B16, false,
                        [](auto& d, auto& a, auto& b, auto& c) { mma_m16n8k16_bf16(d, a, b, c); });
}
std::vector<float> mma_bf16_8(const Product& p) {
  return multiply<2, 1>(p, kBf16A8, kBf16B8, false,
                        [](auto& d, auto& a, auto& b, auto& c) { mma_m16n8k8_bf16(d, a, b, c); });
}
std::vector<float> mma_tf32(const Product& p) {
  return multiply<4, 2>(p, kTf32A8, kTf32B8, true,
                        [](auto& d, auto& a, auto& b, auto& c) { mma_m16n8k8_tf32(d, a, b, c); });
}

/// Integers so small that every sum is exact: a wrong place of any element shows as a wrong integer.
void check_exact(int depth, std::vector<float> (*mma)(const Product&)) {
  std::mt19937 random(7);
  for (int round = 0; round < 4; ++round) {
    Product p(depth);
    for (auto* values : {&p.a, &p.b, &p.c})
      for (float& value : *values) value = static_cast<float>(static_cast<int>(random() % 129) - 64);
    const std::vector<float> d = mma(p);
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        float exact = p.c[row * 8 + column];
        for (int k = 0; k < depth; ++k) exact += p.a[row * depth + k] * p.b[k * 8 + column];
        CAPTURE(row);
        CAPTURE(column);
        CHECK(d[row * 8 + column] == exact);
      }
    }
  }
}

TEST_CASE("mma.sync: every element stands where the ISA's fragment tables say") {
  check_exact(16, mma_bf16_16);
  check_exact(8, mma_bf16_8);
  check_exact(8, mma_tf32);
}

TEST_CASE("mma.sync adds in float at least, and cuts off as the hardware does") {
  // Exact would be 1 + 2^-26 + ...; a float's last bit at 1 is 2^-23. No product may be rounded before it is added.
  Product p(16);
  p.a[0] = 1, p.b[0] = 1;
  for (int k = 1; k < 8; ++k) p.a[k] = 0x1p-13f, p.b[k * 8] = 0x1p-13f;  // 7 x 2^-26, which is less than 2^-23
  CHECK(mma_bf16_16(p)[0] == 1);
  p.c[0] = 0x1p-26f;  // the eighth
  CHECK(mma_bf16_16(p)[0] == 1 + 0x1p-23f);
  for (float& value : p.a) value = -value;
  p.c[0] = 0;
  CHECK(mma_bf16_16(p)[0] == -1);  // towards zero, not down

  // A product of two bf16 has 16 bits and is not rounded to bf16.
  Product q(8);
  q.a[0] = 1 + 0x1p-7f, q.b[0] = 1 + 0x1p-7f;
  CHECK(mma_bf16_8(q)[0] == 1 + 0x1p-6f + 0x1p-14f);

  const float infinity = std::numeric_limits<float>::infinity();
  q.c[0] = infinity;
  CHECK(mma_bf16_8(q)[0] == infinity);
  q.a[0] = std::nanf("");
  CHECK(std::bit_cast<std::uint32_t>(mma_bf16_8(q)[0]) == 0x7fffffffu);
  CHECK(!std::isnan(mma_bf16_8(q)[8 * 1]));
}

TEST_CASE("mma.sync m16n8k8 tf32 takes the upper 19 bits of an operand, and cvt.rna rounds to them") {
  Product p(8);
  const float more = 1 + 0x1p-10f + 0x1p-11f + 0x1p-23f;  // bits below 2^-10 do not count
  p.a[0] = more, p.b[0] = 1;
  CHECK(mma_tf32(p)[0] == 1 + 0x1p-10f);
  p.a[0] = 1, p.b[0] = -more;
  CHECK(mma_tf32(p)[0] == -(1 + 0x1p-10f));

  const auto rounded = [](float value) { return std::bit_cast<float>(cvt_rna_tf32(value)); };
  CHECK(rounded(more) == 1 + 0x1p-9f);
  CHECK(rounded(1 + 0x1p-11f) == 1 + 0x1p-10f);  // a tie: away from zero
  CHECK(rounded(-1 - 0x1p-11f) == -1 - 0x1p-10f);
  CHECK(rounded(1 + 0x1p-11f - 0x1p-23f) == 1);
  CHECK(rounded(2 - 0x1p-23f) == 2);  // a carry into the exponent
  CHECK(rounded(0.0f) == 0);
  CHECK(std::signbit(rounded(-0.0f)));
  CHECK(std::isinf(rounded(std::numeric_limits<float>::max())));
  CHECK(std::isinf(rounded(-std::numeric_limits<float>::infinity())));
  CHECK(std::isnan(rounded(std::nanf(""))));
}

// ldmatrix: "each row ... 8 elements of 16 bits"; lanes 0-7 hold the addresses of matrix 0's rows, 8-15 of matrix 1's,
// and so on. The fragment of lane 4 r + c is row r, elements 2c and 2c + 1 (Figure "ldmatrix fragment layout"); with
// .trans the matrix is loaded in column-major format.
std::uint16_t element_of(int tile, int row, int column) {
  return static_cast<std::uint16_t>(tile << 8 | row << 4 | column);
}
std::uint32_t expected_register(int tile, int lane, bool trans) {
  const int r = lane / 4, c = lane % 4;
  const std::uint32_t low = trans ? element_of(tile, 2 * c, r) : element_of(tile, r, 2 * c);
  const std::uint32_t high = trans ? element_of(tile, 2 * c + 1, r) : element_of(tile, r, 2 * c + 1);
  return low | high << 16;
}

/// Rows of tiles lie in a scrambled order, so that addresses matter; row r of tile t at slot_of(t, r).
int slot_of(int tile, int row) {
  return (tile * 8 + row) * 5 % 32;
}

/// Where a lane that brings no address points: anywhere.
template <class T>
T* address_of(int count, int lane, T* shared) {
  return lane < 8 * count ? shared + 8 * slot_of(lane / 8, lane % 8) : nullptr;
}

template <int kCount, class Load>
void check_ldmatrix(bool trans, Load load) {
  std::uint32_t registers[32][kCount];
  run_grid(dim3(1), dim3(32), 0, [&] {
    __shared__ std::uint16_t shared[32 * 8];
    const int lane = static_cast<int>(threadIdx.x);
    for (int column = 0; column < 8; ++column)
      shared[8 * slot_of(lane / 8, lane % 8) + column] = element_of(lane / 8, lane % 8, column);
    __syncthreads();
    load(registers[lane], address_of(kCount, lane, shared));
  });
  for (int lane = 0; lane < 32; ++lane)
    for (int tile = 0; tile < kCount; ++tile) CHECK(registers[lane][tile] == expected_register(tile, lane, trans));
}

template <int kCount, class Store>
void check_stmatrix(bool trans, Store store) {
  std::uint16_t stored[32 * 8];
  run_grid(dim3(1), dim3(32), 0, [&] {
    __shared__ std::uint16_t shared[32 * 8];
    const int lane = static_cast<int>(threadIdx.x);
    std::uint32_t registers[kCount];
    for (int tile = 0; tile < kCount; ++tile) registers[tile] = expected_register(tile, lane, trans);
    store(address_of(kCount, lane, shared), registers);
    __syncthreads();
    for (int i = 0; i < 8; ++i) stored[8 * lane + i] = shared[8 * lane + i];
  });
  for (int tile = 0; tile < 4; ++tile)
    for (int row = 0; row < 8; ++row)
      for (int column = 0; column < 8; ++column) {
        const std::uint16_t untouched = column % 2 == 0 ? 0xffff : 0x7fff;  // the halves of kPoison
        CHECK(stored[8 * slot_of(tile, row) + column] == (tile < kCount ? element_of(tile, row, column) : untouched));
      }
}

TEST_CASE("ldmatrix and stmatrix: every lane's halves are the elements that the ISA's figure names") {
  check_ldmatrix<1>(false, [](auto& r, const void* row) { ldmatrix_x1(r, row); });
  check_ldmatrix<2>(false, [](auto& r, const void* row) { ldmatrix_x2(r, row); });
  check_ldmatrix<4>(false, [](auto& r, const void* row) { ldmatrix_x4(r, row); });
  check_ldmatrix<1>(true, [](auto& r, const void* row) { ldmatrix_x1_trans(r, row); });
  check_ldmatrix<2>(true, [](auto& r, const void* row) { ldmatrix_x2_trans(r, row); });
  check_ldmatrix<4>(true, [](auto& r, const void* row) { ldmatrix_x4_trans(r, row); });
  check_stmatrix<1>(false, [](void* row, auto& r) { stmatrix_x1(row, r); });
  check_stmatrix<2>(false, [](void* row, auto& r) { stmatrix_x2(row, r); });
  check_stmatrix<4>(false, [](void* row, auto& r) { stmatrix_x4(row, r); });
  check_stmatrix<1>(true, [](void* row, auto& r) { stmatrix_x1_trans(row, r); });
  check_stmatrix<2>(true, [](void* row, auto& r) { stmatrix_x2_trans(row, r); });
  check_stmatrix<4>(true, [](void* row, auto& r) { stmatrix_x4_trans(row, r); });
}

template <class Body>
std::string error_of(unsigned threads, Body body) {
  try {
    run_grid(dim3(1), dim3(threads), 0, body);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("ldmatrix, stmatrix and mma.sync refuse what the ISA forbids, with one line") {
  const std::string unaligned = error_of(32, [] {
    __shared__ std::uint16_t shared[64 * 8];
    std::uint32_t r[1];
    ldmatrix_x1(r, shared + 8 * threadIdx.x + (threadIdx.x == 5 ? 4 : 0));
  });
  CHECK(contains(unaligned, "thread (5,0,0): ldmatrix.x1 at "));
  CHECK(contains(unaligned, "is not a multiple of 16"));
  CHECK(contains(error_of(32,
                          [] {
                            __shared__ std::uint16_t shared[64 * 8];
                            const std::uint32_t r[2] = {};
                            stmatrix_x2_trans(shared + 8 * threadIdx.x + 1, r);
                          }),
                 "stmatrix.x2.trans at "));
  if (shared_poison_available()) {
    CHECK(contains(error_of(32,
                            [] {
                              alignas(16) std::uint16_t local[8] = {};
                              std::uint32_t r[4];
                              ldmatrix_x4(r, local);
                            }),
                   "the 16 bytes at the row's address"));
  }
  CHECK(contains(error_of(16,
                          [] {
                            const std::uint32_t a[4] = {}, b[2] = {};
                            float d[4] = {};
                            mma_m16n8k16_bf16(d, a, b, d);
                          }),
                 "it takes all 32 lanes of a warp, and only lanes 0x0000ffff came"));
  CHECK(contains(error_of(32,
                          [] {
                            const std::uint32_t a[4] = {}, b[2] = {};
                            float d[4] = {};
                            if (threadIdx.x != 3) mma_m16n8k16_bf16(d, a, b, d);
                          }),
                 "only lanes 0xfffffff7 came"));
}

}  // namespace
}  // namespace weft::simt
