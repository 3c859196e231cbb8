// Intrinsics, vector types and bfloat16, against values worked out by hand or by <cmath>.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>

#include "kernels/launch.h"

namespace weft::simt {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_CASE("simt: vector types have CUDA's sizes and alignments") {
  static_assert(sizeof(float2) == 8 && alignof(float2) == 8);
  static_assert(sizeof(float3) == 12 && alignof(float3) == 4);
  static_assert(sizeof(float4) == 16 && alignof(float4) == 16);
  static_assert(sizeof(double2) == 16 && alignof(double2) == 16);
  static_assert(sizeof(double4) == 32 && alignof(double4) == 16);
  static_assert(sizeof(uchar4) == 4 && alignof(uchar4) == 4);
  static_assert(sizeof(short2) == 4 && alignof(ushort4) == 8);
  static_assert(sizeof(__nv_bfloat162) == 4 && alignof(__nv_bfloat162) == 4);
  static_assert(std::is_trivially_copyable_v<__nv_bfloat16> &&
                std::is_trivially_default_constructible_v<__nv_bfloat16>);
  const float4 v = make_float4(1, 2, 3, 4);
  CHECK(v.x + 10 * v.y + 100 * v.z + 1000 * v.w == 4321);
  const int2 i = make_int2(-1, 5);
  CHECK(i.x * i.y == -5);
  const dim3 d(7, 2);
  CHECK(d.x * d.y * d.z == 14);
}

TEST_CASE("simt: integer intrinsics") {
  CHECK(__popc(0xf0f0u) == 8);
  CHECK(__popcll(~0ull) == 64);
  CHECK(__clz(1) == 31);
  CHECK(__clz(0) == 32);
  CHECK(__clzll(1) == 63);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__ffsll(1ll << 40) == 41);
  CHECK(__brev(1) == 0x80000000u);
  CHECK(__brev(0x12345678u) == 0x1e6a2c48u);
  CHECK(__brevll(1) == 1ull << 63);
  CHECK(__umulhi(0xffffffffu, 0xffffffffu) == 0xfffffffeu);
  CHECK(__mulhi(-2, 3) == -1);
  CHECK(__mulhi(1 << 30, 8) == 2);
  CHECK(__umul64hi(1ull << 63, 6) == 3);
  CHECK(__mul64hi(-(1ll << 62), 8) == -2);
  CHECK(__umul24(0xff000003u, 5) == 15);
  CHECK(__mul24(-3, 7) == -21);
  CHECK(__byte_perm(0x33221100u, 0x77665544u, 0x7610) == 0x77661100u);
  CHECK(__byte_perm(0x00008000u, 0, 0x0009) == 0x000000ffu);
  CHECK(__funnelshift_l(0x80000000u, 1, 4) == 0x18u);
  CHECK(__funnelshift_r(0x10u, 3, 4) == 0x30000001u);
  CHECK(__dp4a(0x01ff0203, 0x01010101, 10) == 10 + 1 - 1 + 2 + 3);
  CHECK(__usad(3, 10, 5) == 12);
  CHECK(min(3, 5u) == 3u);
  CHECK(max(-3, 5) == 5);
  CHECK(max(1.5f, 1) == 1.5f);
  CHECK(max(kNan, 2.0f) == 2.0f);
  CHECK(min(2.0f, kNan) == 2.0f);
  CHECK(__float_as_int(1.0f) == 0x3f800000);
  CHECK(__float_as_uint(-0.0f) == 0x80000000u);
  CHECK(__int_as_float(0x40490fdb) == 3.14159274f);
  CHECK(__uint_as_float(0x7f800000u) == kInfinity);
  CHECK(__longlong_as_double(__double_as_longlong(1.25)) == 1.25);
  CHECK(__hiloint2double(__double2hiint(-7.7), __double2loint(-7.7)) == -7.7);
}

TEST_CASE("simt: floating-point intrinsics") {
  CHECK(fmaxf(kNan, 1) == 1);
  CHECK(fmaxf(1, kNan) == 1);
  CHECK(fminf(kNan, 1) == 1);
  CHECK(fminf(2, -3) == -3);
  CHECK(std::isnan(fmaxf(kNan, kNan)));
  CHECK(rsqrtf(16) == 0.25f);
  CHECK(rsqrtf(0) == kInfinity);
  CHECK(__frsqrt_rn(4) == 0.5f);
  CHECK(__expf(1) == doctest::Approx(2.718281828));
  CHECK(__expf(-kInfinity) == 0);
  CHECK(__logf(10) == doctest::Approx(2.302585093));
  CHECK(__log2f(8) == 3);
  CHECK(__log10f(1000) == doctest::Approx(3));
  CHECK(__exp10f(2) == doctest::Approx(100));
  CHECK(__powf(2, 10) == 1024);
  CHECK(__sinf(1) == doctest::Approx(std::sin(1.0)));
  CHECK(__cosf(1) == doctest::Approx(std::cos(1.0)));
  CHECK(__tanf(1) == doctest::Approx(std::tan(1.0)));
  float sine = 0, cosine = 0;
  __sincosf(0.5f, &sine, &cosine);
  CHECK(sine * sine + cosine * cosine == doctest::Approx(1));
  CHECK(__fdividef(1, 4) == 0.25f);
  CHECK(__saturatef(1.5f) == 1);
  CHECK(__saturatef(-1) == 0);
  CHECK(__saturatef(kNan) == 0);
  CHECK(__saturatef(0.3f) == 0.3f);
  CHECK(__fmaf_rn(1.0f + 0x1p-12f, 1.0f - 0x1p-12f, -1.0f) == -0x1p-24f);  // one rounding
  CHECK(__fadd_rn(1, 2) + __fsub_rn(1, 2) + __fmul_rn(2, 3) + __fdiv_rn(1, 2) == 8.5f);
  CHECK(__frcp_rn(8) == 0.125f);
  CHECK(__fsqrt_rn(9) == 3);
  CHECK(__float2int_rn(2.5f) == 2);
  CHECK(__float2int_rn(3.5f) == 4);
  CHECK(__float2int_rz(-2.7f) == -2);
  CHECK(__float2int_rd(-2.1f) == -3);
  CHECK(__float2int_ru(2.1f) == 3);
  CHECK(__float2int_rn(1e20f) == std::numeric_limits<int>::max());
  CHECK(__float2int_rz(-1e20f) == std::numeric_limits<int>::min());
  CHECK(__float2int_rn(kNan) == 0);
  CHECK(__float2uint_rz(-5) == 0);
  CHECK(__int2float_rn(16777217) == 16777216.0f);
  CHECK(__double2float_rn(0.1) == 0.1f);
  CHECK(normcdff(0) == 0.5f);
  CHECK(exp10f(-2) == doctest::Approx(0.01));
}

/// The nearest of all bfloat16 numbers, the even one of two, by trying the neighbours.
unsigned short nearest_bf16(double value) {
  const float as_float = static_cast<float>(value);
  const auto low = static_cast<std::uint16_t>(__float_as_uint(as_float) >> 16);
  std::uint16_t best = 0;
  double best_distance = std::numeric_limits<double>::infinity();
  for (int delta = -1; delta <= 2; ++delta) {
    const auto candidate = static_cast<std::uint16_t>(low + delta);
    const double distance =
        std::fabs(static_cast<double>(__uint_as_float(static_cast<unsigned>(candidate) << 16)) - value);
    if (distance < best_distance || (distance == best_distance && candidate % 2 == 0)) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

TEST_CASE("simt: bfloat16 conversions") {
  CHECK(__bfloat16_as_ushort(__float2bfloat16(1.0f)) == 0x3f80);
  CHECK(__bfloat16_as_ushort(__float2bfloat16(__uint_as_float(0x3f808000))) == 0x3f80);  // a tie goes to the even one
  CHECK(__bfloat16_as_ushort(__float2bfloat16(__uint_as_float(0x3f818000))) == 0x3f82);
  CHECK(__bfloat16_as_ushort(__float2bfloat16(__uint_as_float(0x3f808001))) == 0x3f81);
  CHECK(__bfloat16_as_ushort(__float2bfloat16(std::numeric_limits<float>::max())) == 0x7f80);
  CHECK(__bfloat16_as_ushort(__float2bfloat16(-kInfinity)) == 0xff80);
  CHECK(__bfloat16_as_ushort(__float2bfloat16(kNan)) == 0x7fff);
  CHECK(__bfloat16_as_ushort(__float2bfloat16(__uint_as_float(0x7f800001))) == 0x7fff);  // no NaN becomes infinity
  CHECK(__bfloat16_as_ushort(__float2bfloat16(-0.0f)) == 0x8000);
  CHECK(__bfloat16_as_ushort(__float2bfloat16_rz(__uint_as_float(0x3f80ffff))) == 0x3f80);
  CHECK(__bfloat16_as_ushort(__float2bfloat16_ru(__uint_as_float(0x3f800001))) == 0x3f81);
  CHECK(__bfloat16_as_ushort(__float2bfloat16_ru(__uint_as_float(0xbf800001))) == 0xbf80);
  CHECK(__bfloat16_as_ushort(__float2bfloat16_rd(__uint_as_float(0xbf800001))) == 0xbf81);
  // Rounded to float first, this would become a tie.
  CHECK(__bfloat16_as_ushort(__double2bfloat16(1 + 0x1p-8 + 0x1p-40)) == 0x3f81);
  CHECK(__bfloat16_as_ushort(__double2bfloat16(1 + 0x1p-8 - 0x1p-40)) == 0x3f80);
  for (unsigned bits = 0; bits < 0x10000; ++bits) {  // what fits comes back
    const __nv_bfloat16 value = __ushort_as_bfloat16(static_cast<unsigned short>(bits));
    const float as_float = __bfloat162float(value);
    if (as_float == as_float) {
      CHECK_MESSAGE(__bfloat16_as_ushort(__float2bfloat16(as_float)) == bits, bits);
    } else {
      CHECK_MESSAGE(__hisnan(__float2bfloat16(as_float)), bits);
    }
  }
  std::mt19937 random(1);
  std::uniform_real_distribution<double> mantissa(-2, 2);
  for (int i = 0; i < 20000; ++i) {
    const double value = std::ldexp(mantissa(random), static_cast<int>(random() % 60) - 30);
    CHECK(__bfloat16_as_ushort(__double2bfloat16(value)) == nearest_bf16(value));
    const auto as_float = static_cast<float>(value);
    CHECK(__bfloat16_as_ushort(__float2bfloat16(as_float)) == nearest_bf16(static_cast<double>(as_float)));
  }
}

TEST_CASE("simt: bfloat16 arithmetic") {
  const __nv_bfloat16 a = 1.5f, b = -2.25f, nan = kNan;
  CHECK(static_cast<float>(a + b) == -0.75f);
  CHECK(static_cast<float>(a - b) == 3.75f);
  CHECK(static_cast<float>(a * b) == -3.375f);
  CHECK(static_cast<float>(b / a) == -1.5f);
  CHECK(static_cast<float>(-a) == -1.5f);
  CHECK(static_cast<float>(__habs(b)) == 2.25f);
  CHECK(static_cast<float>(__hfma(a, a, b)) == 0.0f);
  CHECK(static_cast<float>(__hmax(a, b)) == 1.5f);
  CHECK(static_cast<float>(__hmin(nan, b)) == -2.25f);
  CHECK(static_cast<float>(__hmax(a, nan)) == 1.5f);
  CHECK(b < a);
  CHECK(!(nan == nan));
  CHECK(nan != nan);
  CHECK(__hisinf(__nv_bfloat16(-kInfinity)) == -1);
  __nv_bfloat16 sum = a;
  sum += b;
  CHECK(static_cast<float>(sum) == -0.75f);
  const __nv_bfloat162 pair = __floats2bfloat162_rn(1, 2);
  CHECK(__low2float(pair) == 1);
  CHECK(__high2float(pair) == 2);
  CHECK(__low2float(__lowhigh2highlow(pair)) == 2);
  const float2 both = __bfloat1622float2(__hfma2(pair, pair, __float2bfloat162_rn(3)));
  CHECK(both.x == 4);
  CHECK(both.y == 7);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &pair, sizeof bits);
  CHECK(bits == 0x40003f80u);  // the low half is the first
}

__global__ void loads_and_stores(const float4* in, float* out, const __nv_bfloat16* halves) {
  const float4 v = __ldg(in + threadIdx.x);
  __stcs(out + threadIdx.x, v.x + v.y + v.z + v.w + __ldcs(&in->x) + static_cast<float>(__ldg(halves)));
  __threadfence();
}

TEST_CASE("simt: loads and stores with hints") {
  const float4 in[2] = {make_float4(1, 2, 3, 4), make_float4(5, 6, 7, 8)};
  const __nv_bfloat16 half = 0.5f;
  float out[2] = {};
  launch(loads_and_stores, {.grid = 1, .block = 2}, in, out, &half);
  CHECK(out[0] == 11.5f);
  CHECK(out[1] == 27.5f);
}

}  // namespace
}  // namespace weft::simt
