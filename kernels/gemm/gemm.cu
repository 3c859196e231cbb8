// gemm: the catalogue's entry and the choice of a rung. The formula, its costs and the list of rungs stand in gemm.h.

#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

#include "kernels/catalogue_ops.h"
#include "kernels/error.h"
#include "kernels/gemm/problems.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {

using extents::Gemm;

// Operands by position: a, b, bias, residual, y.
enum : int { kA, kB, kBias, kResidual, kY, kOperands };

int64_t pitch_a(const Problem& problem) {
  const auto* e = problem.extents;
  return e[Gemm::lda] ? e[Gemm::lda] : e[Gemm::trans_a] ? e[Gemm::M] : e[Gemm::K];
}

int64_t pitch_b(const Problem& problem) {
  const auto* e = problem.extents;
  return e[Gemm::ldb] ? e[Gemm::ldb] : e[Gemm::trans_b] ? e[Gemm::K] : e[Gemm::N];
}

int64_t pitch_y(const Problem& problem) {
  const auto* e = problem.extents;
  return e[Gemm::ldy] ? e[Gemm::ldy] : e[Gemm::N];
}

int64_t pitch_residual(const Problem& problem) {
  const auto* e = problem.extents;
  return e[Gemm::ld_residual] ? e[Gemm::ld_residual] : e[Gemm::N];
}

namespace {

DType type_of_y(const Problem& problem) {
  return problem.extents[Gemm::out_f32] ? DType::f32 : problem.dtype;
}

template <class T, class Out>
GemmCall<T, Out> call_of(const Problem& problem, void* const* operands) {
  const auto* e = problem.extents;
  return {.a = as<const T>(operands[kA]),
          .b = as<const T>(operands[kB]),
          .bias = e[Gemm::has_bias] ? as<const T>(operands[kBias]) : nullptr,
          .residual = e[Gemm::has_residual] ? as<const Out>(operands[kResidual]) : nullptr,
          .y = as<Out>(operands[kY]),
          .M = e[Gemm::M],
          .N = e[Gemm::N],
          .K = e[Gemm::K],
          .lda = pitch_a(problem),
          .ldb = pitch_b(problem),
          .ldy = pitch_y(problem),
          .ld_residual = pitch_residual(problem),
          .trans_a = e[Gemm::trans_a] != 0,
          .trans_b = e[Gemm::trans_b] != 0,
          .relu = e[Gemm::relu] != 0,
          .tf32 = e[Gemm::tf32] != 0,
          .alpha = static_cast<float>(problem.scalars[Gemm::alpha]),
          .beta = static_cast<float>(problem.scalars[Gemm::beta])};
}

template <class T, class Out>
bool is_of_types(const Problem& problem) {
  return problem.dtype == kTypeOf<T> && type_of_y(problem) == kTypeOf<Out>;
}

template <class T, class Out>
bool run_if_of_types(void (*rung)(const GemmCall<T, Out>&, Stream), const Problem& problem, void* const* operands,
                     void*, Stream stream) {
  if (!is_of_types<T, Out>(problem)) return false;
  rung(call_of<T, Out>(problem, operands), stream);
  return true;
}

template <class T, class Out>
bool run_if_of_types(void (*rung)(const GemmCall<T, Out>&, void*, Stream), const Problem& problem,
                     void* const* operands, void* workspace, Stream stream) {
  if (!is_of_types<T, Out>(problem)) return false;
  rung(call_of<T, Out>(problem, operands), workspace, stream);
  return true;
}

/// A rung as the catalogue wants it, of its implementations for several types: runs the one for the problem's.
template <auto... kImplementations>
void launch_rung(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  if (!(run_if_of_types(kImplementations, problem, operands, workspace, stream) || ...))
    fail("gemm: this rung is not made for the problem's types; can_run() tells");
}

Signature gemm_signature(const Problem& problem) {
  const auto* e = problem.extents;
  const int64_t m = e[Gemm::M], n = e[Gemm::N], k = e[Gemm::K];
  const DType y = type_of_y(problem);
  Signature signature{kOperands,
                      {{"a", Role::input, problem.dtype, 2, {m, k}},
                       {"b", Role::input, problem.dtype, 2, {k, n}},
                       {"bias", Role::input, problem.dtype, 1, {n}},
                       {"residual", Role::input, y, 2, {m, n}},
                       {"y", problem.scalars[Gemm::beta] != 0 ? Role::inout : Role::output, y, 2, {m, n}}}};
  Operand* operands = signature.operands;
  if (e[Gemm::trans_a]) operands[kA].dims[0] = k, operands[kA].dims[1] = m;
  if (e[Gemm::trans_b]) operands[kB].dims[0] = n, operands[kB].dims[1] = k;
  operands[kBias].present = e[Gemm::has_bias] != 0;
  operands[kResidual].present = e[Gemm::has_residual] != 0;
  operands[kA].row_pitch = e[Gemm::lda];
  operands[kB].row_pitch = e[Gemm::ldb];
  operands[kY].row_pitch = e[Gemm::ldy];
  operands[kResidual].row_pitch = e[Gemm::ld_residual];
  return signature;
}

void check_gemm(const Problem& problem) {
  const auto* e = problem.extents;
  if (e[Gemm::M] < 1 || e[Gemm::N] < 1 || e[Gemm::K] < 1)
    fail("gemm: M, N and K are at least 1, but M=" + std::to_string(e[Gemm::M]) + " N=" + std::to_string(e[Gemm::N]) +
         " K=" + std::to_string(e[Gemm::K]));
  const auto want_pitch = [&](const char* name, int64_t pitch, int64_t row) {
    if (pitch != 0 && pitch < row)
      fail("gemm: " + std::string(name) + " is 0 (dense) or at least the row's length " + std::to_string(row) +
           ", but it is " + std::to_string(pitch));
  };
  want_pitch("lda", e[Gemm::lda], e[Gemm::trans_a] ? e[Gemm::M] : e[Gemm::K]);
  want_pitch("ldb", e[Gemm::ldb], e[Gemm::trans_b] ? e[Gemm::K] : e[Gemm::N]);
  want_pitch("ldy", e[Gemm::ldy], e[Gemm::N]);
  want_pitch("ld_residual", e[Gemm::ld_residual], e[Gemm::N]);
}

constexpr const char* kExtents[] = {"M",    "N",       "K",    "trans_a", "trans_b", "has_bias", "has_residual",
                                    "relu", "out_f32", "tf32", "lda",     "ldb",     "ldy",      "ld_residual"};
constexpr const char* kScalars[] = {"alpha", "beta"};

double gemm_bytes(const Problem& problem) {
  const auto* e = problem.extents;
  const auto m = static_cast<double>(e[Gemm::M]), n = static_cast<double>(e[Gemm::N]);
  const auto k = static_cast<double>(e[Gemm::K]);
  const double out = type_of_y(problem) == DType::f32 ? 4 : 2;
  const int passes_over_y = 1 + (problem.scalars[Gemm::beta] != 0) + (e[Gemm::has_residual] != 0);
  return width(problem) * (m * k + k * n + (e[Gemm::has_bias] ? n : 0)) + out * passes_over_y * m * n;
}

double gemm_unit_roundoff(const Problem& problem) {
  if (problem.dtype == DType::bf16) return 0x1p-8;
  return problem.extents[Gemm::tf32] ? 0x1p-11 : 0x1p-24;
}

// By which a device computes; rungs are chosen by it.
int current_capability() {
#if WEFT_TARGET_IS_CUDA
  int device = 0, major = 0, minor = 0;
  check_cuda(cudaGetDevice(&device), "the current device");
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "the compute capability");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "the compute capability");
  return major * 10 + minor;
#else
  return 0;
#endif
}

// For rungs that any device can run, in every type; in float32 alone; and on what has cp.async.
constexpr Needs kAnywhere = {.dtypes = kFloats};
constexpr Needs kFloat32 = {.dtypes = bit(DType::f32)};
constexpr Needs kCpAsync = {.min_capability = 80, .dtypes = bit(DType::f32)};

/// Tensor cores multiply bfloat16, and float32 as TF32 where the call allows it.
bool for_tensor_cores(const Problem& problem) {
  return problem.dtype == DType::bf16 || problem.extents[Gemm::tf32] != 0;
}
constexpr Needs kMma = {.min_capability = 80,
                        .dtypes = kFloats,
                        .takes = for_tensor_cores,
                        .takes_what = "float32 where a call allows TF32"};

/// Hopper's copy engine reads bfloat16 from rows that begin at multiples of 16 bytes.
bool for_copy_engine(const Problem& problem) {
  return problem.dtype == DType::bf16 && pitch_a(problem) % 8 == 0 && pitch_b(problem) % 8 == 0;
}
constexpr Needs kHopper = {.exact_capability = 90,
                           .dtypes = 1u << static_cast<unsigned>(DType::bf16),
                           .takes = for_copy_engine,
                           .takes_what = "lda and ldb multiples of 8",
                           .alignment = 16};

/// The same for results, in bfloat16 alone: stmatrix writes 16 bits an element, and pieces of float would want twice
/// the shared memory, of which the ring of tiles leaves none.
bool for_copy_engine_both_ways(const Problem& problem) {
  return for_copy_engine(problem) && !problem.extents[Gemm::out_f32] && pitch_y(problem) % 8 == 0;
}
constexpr Needs kHopperStore = {.exact_capability = 90,
                                .dtypes = 1u << static_cast<unsigned>(DType::bf16),
                                .takes = for_copy_engine_both_ways,
                                .takes_what = "lda, ldb and ldy multiples of 8, results in bfloat16",
                                .alignment = 16};
constexpr Needs kSplitK = {.min_capability = 80, .dtypes = kFloats};

constexpr Rung kRungs[] = {
    {"naive", "A thread an element, down the columns, its operands read from global memory: the formula as written.",
     kAnywhere, launch_rung<gemm_naive<float, float>, gemm_naive<bfloat16, bfloat16>, gemm_naive<bfloat16, float>>},
    {"coalesced",
     "A warp's reads lay in 32 places; with its elements side by side in a row, its reads and its store are too.",
     kAnywhere,
     launch_rung<gemm_coalesced<float, float>, gemm_coalesced<bfloat16, bfloat16>, gemm_coalesced<bfloat16, float>>},
    {"shared-tile",
     "Threads read the same rows and columns again and again; a block reads them once into shared memory, a square "
     "tile at a time.",
     kAnywhere,
     launch_rung<gemm_shared_tile<float, float>, gemm_shared_tile<bfloat16, bfloat16>,
                 gemm_shared_tile<bfloat16, float>>},
    {"register-tile-1d",
     "Every multiplication read two numbers from shared memory; a thread that keeps a column of 8 sums in registers "
     "reads 9 for 8.",
     kAnywhere,
     launch_rung<gemm_register_tile_1d<float, float>, gemm_register_tile_1d<bfloat16, bfloat16>,
                 gemm_register_tile_1d<bfloat16, float>>},
    {"register-tile-2d",
     "A column of sums reused b but not a; a thread that keeps 8 x 4 of them reads 12 numbers for 32 multiplications, "
     "four at a time.",
     kAnywhere,
     launch_rung<gemm_register_tile_2d<float, float>, gemm_register_tile_2d<bfloat16, bfloat16>,
                 gemm_register_tile_2d<bfloat16, float>>},
    {"float4",
     "Operands were fetched a number a load; four a load leave instructions for tiles of 128 x 128 and 8 x 8 sums a "
     "thread.",
     kFloat32, launch_rung<gemm_float4>},
    {"warp-tile",
     "A warp's numbers of b lay apart and met in a bank; a warp that has 64 x 32 of y reads fewer, each bank once.",
     kFloat32, launch_rung<gemm_warp_tile>},
    {"cp-async",
     "Memory waited for the multipliers and they for it; copies that run by themselves fill a ring of tiles meanwhile.",
     kCpAsync, launch_rung<gemm_cp_async>},
    {"cp-async-wide",
     "Each instruction that is no multiplication costs one; 8 x 16 sums a thread are 128 for 6 reads, 8 x 8 are 64 "
     "for 4.",
     kCpAsync, launch_rung<gemm_cp_async_wide>},
    {"mma-sync",
     "A thread that multiplies by itself does two flops an instruction; a tensor core's instruction, 4096 of a whole "
     "warp, fed by ldmatrix from swizzled shared memory.",
     kMma, launch_rung<gemm_mma_sync<float, float>, gemm_mma_sync<bfloat16, bfloat16>, gemm_mma_sync<bfloat16, float>>},
    {"mma-multistage",
     "The tensor cores waited while a tile was loaded; cp.async has three tiles on their way while one is multiplied, "
     "and fragments are loaded a step ahead.",
     kMma,
     launch_rung<gemm_mma_multistage<float, float>, gemm_mma_multistage<bfloat16, bfloat16>,
                 gemm_mma_multistage<bfloat16, float>>},
    {"wgmma-tma",
     "Threads spent their instructions on copying and on loading fragments; the copy engine (TMA) brings whole tiles "
     "for "
     "one thread's word, and wgmma reads them from shared memory by itself.",
     kHopper, launch_rung<gemm_wgmma_tma<bfloat16>, gemm_wgmma_tma<float>>},
    {"warp-specialised",
     "Copies and products took turns; a producer asks for tiles four ahead while two warpgroups multiply, and "
     "mbarriers "
     "stand between them.",
     kHopper, launch_rung<gemm_warp_specialised<bfloat16>, gemm_warp_specialised<float>>},
    {"large-tile",
     "A tile of 128 x 128 asks shared memory and L2 for a third more bytes a flop than one of 128 x 256, and waiting "
     "for "
     "each tile's products drains the tensor cores; here the next are issued before.",
     kHopper, launch_rung<gemm_large_tile<bfloat16>, gemm_large_tile<float>>},
    {"persistent",
     "A block that ends with its tile multiplies nothing while it writes the result; one that stays fetches the next "
     "tile meanwhile, and neighbouring tiles in time share L2.",
     kHopper, launch_rung<gemm_persistent<bfloat16>, gemm_persistent<float>>},
    {"cluster-multicast",
     "Blocks below each other each read the same tile of op(b) from L2; a cluster of two reads half each, for both.",
     kHopper, launch_rung<gemm_cluster_multicast<bfloat16>, gemm_cluster_multicast<float>>},
    {"tma-store",
     "Sums written to y from registers, 4 bytes a lane, kept the tensor cores waiting; through stmatrix and the copy "
     "engine they leave while the next tile is multiplied.",
     kHopperStore, launch_rung<gemm_tma_store>},
    {"split-k", "A thin y has too few tiles for a GPU; slices of K are summed side by side and added in a fixed order.",
     kSplitK, launch_rung<gemm_split_k<float, float>, gemm_split_k<bfloat16, bfloat16>, gemm_split_k<bfloat16, float>>,
     gemm_split_k_workspace},
};

consteval int rung(std::string_view name) {
  return rung_named(kRungs, name);
}

// A tile of 64 x 64 is mostly padding for a matrix of a few rows or columns: there a thread an element reads less.
constexpr int64_t kFewestForTile = 8;
// The tile of 128 x 128 reads half as much as that of 64 x 64; but it is better to have a block for each of some 100
// SMs.
constexpr int64_t kTilesToFill = 96;
// Slices are multiplied by mma.sync, which on Hopper reaches some 60% of what wgmma does (Luo et al. 2024, Benchmarking
// and Dissecting the Nvidia Hopper GPU Architecture): there half as many tiles do better whole. Not measured here.
constexpr int64_t kTilesToFillHopper = kTilesToFill / 2;
// A slice writes and reads 8 bytes for each of its sums: it should have some multiplications to show for it.
constexpr int64_t kDeepEnoughToSplit = 512;

// Pairs of blocks pay where there are tiles of 256 x 256 for most of a Hopper GPU's 132 multiprocessors; fewer tiles
// are spread over more blocks of 128 x 128. Not measured: the tuner's table has the last word.
constexpr int64_t kFewestPairs = 48;

int choose_hopper(const Problem& problem) {
  const int64_t pairs = ceil_div(problem.extents[Gemm::M], 256) * ceil_div(problem.extents[Gemm::N], 256);
  if (pairs < kFewestPairs) return rung("warp-specialised");
  return for_copy_engine_both_ways(problem) ? rung("tma-store") : rung("cluster-multicast");
}

// Without cp.async (before sm_80) neither split-k nor the tensor cores' rungs can run.
int choose(const Problem& problem, int capability, bool has_workspace) {
  const int64_t M = problem.extents[Gemm::M], N = problem.extents[Gemm::N], K = problem.extents[Gemm::K];
  const bool tiny = std::min(M, N) < kFewestForTile;
  // On simt what needs the fewest changes of threads is the fastest.
  if (capability == 0) return tiny ? rung("coalesced") : rung("register-tile-2d");
  const bool has_cp_async = capability >= 80;
  const int64_t tiles = ceil_div(M, 128) * ceil_div(N, 128);
  const bool hopper = capability == 90 && for_copy_engine(problem);
  if (tiles < (hopper ? kTilesToFillHopper : kTilesToFill) && has_cp_async && has_workspace && K >= kDeepEnoughToSplit)
    return rung("split-k");
  if (hopper) return choose_hopper(problem);
  if (has_cp_async && for_tensor_cores(problem)) return rung("mma-multistage");
  if (tiny) return rung("coalesced");
  if (tiles < kTilesToFill || problem.dtype == DType::bf16) return rung("register-tile-2d");
  if (!has_cp_async) return rung("warp-tile");
  // The wide tile where it, too, gives each SM several blocks, so that the last of them leave few SMs idle.
  return N % 256 == 0 && tiles >= 8 * kTilesToFill ? rung("cp-async-wide") : rung("cp-async");
}

int choose_gemm(const Problem& problem, int capability) {
  return choose(problem, capability, true);
}

}  // namespace

const Op gemm = {
    .name = "gemm",
    .formula = "y = relu?(alpha op(a) op(b) + beta y [+ bias] [+ residual]); op(a) (M, K), op(b) (K, N), y (M, N)",
    .peer = "cublas:gemm",
    .extent_names = kExtents,
    .scalar_names = kScalars,
    .signature = gemm_signature,
    .check = check_gemm,
    .reference = reference::gemm,
    .flops =
        [](const Problem& p) {
          return 2.0 * static_cast<double>(p.extents[Gemm::M]) * static_cast<double>(p.extents[Gemm::N]) *
                 static_cast<double>(p.extents[Gemm::K]);
        },
    .bytes = gemm_bytes,
    .bound = {.c = 4, .terms = [](const Problem& p) { return p.extents[Gemm::K]; }, .unit = gemm_unit_roundoff},
    .problems = kGemmProblems,
    .rungs = kRungs,
    .choose = choose_gemm,
    .exact_on_integers = true,
};

template <class T, class Out>
void gemm_best(const GemmCall<T, Out>& call, Stream stream, const GemmWorkspace& workspace) {
  const Problem problem = problem_of(call);
  void* const operands[] = {const_cast<T*>(call.a), const_cast<T*>(call.b), const_cast<T*>(call.bias),
                            const_cast<Out*>(call.residual), call.y};
  const int capability = current_capability();
  const auto usable = [&](const Rung& candidate) {
    return can_run(candidate, problem, capability) &&
           (candidate.workspace_bytes == nullptr || candidate.workspace_bytes(problem) <= workspace.bytes) &&
           (candidate.needs.alignment == 1 || aligned({call.a, call.b, call.bias, call.residual, call.y}));
  };
  int picked = pick_rung(gemm, problem, capability);
  if (!usable(kRungs[picked])) picked = choose(problem, capability, false);
  while (picked > 0 && !usable(kRungs[picked])) --picked;  // the ladder's first takes everything
  kRungs[picked].launch(problem, operands, workspace.data, stream);
}

template <class T, class Out>
int64_t gemm_best_workspace(const GemmCall<T, Out>& call) {
  const Problem problem = problem_of(call);
  const Rung& picked = kRungs[pick_rung(gemm, problem, current_capability())];
  return picked.workspace_bytes == nullptr ? 0 : picked.workspace_bytes(problem);
}

template void gemm_best(const GemmCall<float, float>&, Stream, const GemmWorkspace&);
template void gemm_best(const GemmCall<__nv_bfloat16, __nv_bfloat16>&, Stream, const GemmWorkspace&);
template void gemm_best(const GemmCall<__nv_bfloat16, float>&, Stream, const GemmWorkspace&);
template int64_t gemm_best_workspace(const GemmCall<float, float>&);
template int64_t gemm_best_workspace(const GemmCall<__nv_bfloat16, __nv_bfloat16>&);
template int64_t gemm_best_workspace(const GemmCall<__nv_bfloat16, float>&);

}  // namespace weft::WEFT_TARGET
