// conv2d and conv2d_backward_data, the rung of fewer multiplications: Winograd F(2x2, 3x3). The formula and its costs
// stand in conv.h.

#include <algorithm>

#include "kernels/conv/implicit_gemm.h"
#include "kernels/limits.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

// Winograd. All rungs so far multiply 36 times a channel for 2 x 2 results of a 3x3 filter. Winograd's minimal
// filtering takes 16 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016): with d the 4 x 4
// pixels under them and g the filter,
//
//   results = A^T [ (G g G^T) * (B^T d B) ] A        (* elementwise)
//
//         |1  0 -1  0|         | 1   0   0 |
//   B^T = |0  1  1  0|     G = |1/2 1/2 1/2|     A^T = |1 1  1  0|
//         |0 -1  1  0|         |1/2-1/2 1/2|           |0 1 -1 -1|
//         |0  1  0 -1|         | 0   0   1 |
//
// Summed over the channels, each of the 16 places is a matrix product: (tiles, C) times (C, K). So: transform the
// filters, transform the picture tile by tile, 16 products in one launch, transform back through the epilogue. 2.25
// times fewer multiplications, paid in memory: the 16 numbers of a tile are written and read again for each channel and
// each filter, 128 (C + K) bytes a tile where its 32 C K flops take 32 C K / 67e12 s on an H100. By that reckoning it
// gains from some 128 channels and filters on (not measured). And paid in bits: transforms subtract neighbours before
// they multiply, so its error may be 8 times the others' (Rung::bound_factor); a strict problem does without it.
//
// Backward data is a forward pass over dy with the filters turned by half a turn and their two channel axes swapped,
// and padded by 2 - pad. Pictures are taken as many at a time as fit a fixed budget, as im2col's are. (On simt it holds
// all pictures of any test, but with WEFT_PART_BYTES, kernels/limits.h.)
//
// Backward filter has no rung here: it is another algorithm, F(3x3, 2x2), with the roles of filter and result
// exchanged. Both of its operands would be transformed anew in each call (forward's filters are few), and the sums of
// the 16 places go over all tiles of all pictures, not over channels: Winograd's error with them. Statistics
// (conv2d_statistics) are not gathered either: its sums are finished by the transform back, a tile of 2 x 2 a thread,
// and no thread has the 64 pixels of a chunk.
constexpr int64_t kBudget = WEFT_TARGET_IS_CUDA ? int64_t{512} << 20 : int64_t{1} << 20;
constexpr int kPlaces = 16;

/// A 3x3 convolution of stride 1, from (N, H, W, C) to (N, P, Q, K), by tiles of 2 x 2.
struct TiledShape {
  int H, W, C, P, Q, K, pad_h, pad_w;

  __host__ __device__ int rows() const { return (P + 1) / 2; }
  __host__ __device__ int columns() const { return (Q + 1) / 2; }
  __host__ __device__ int64_t tiles(int images) const { return int64_t{images} * rows() * columns(); }
};

TiledShape forward_tiles(const ConvShape& z) {
  return {z.H, z.W, z.C, z.P, z.Q, z.K, z.pad_h, z.pad_w};
}
TiledShape data_tiles(const ConvShape& z) {
  return {z.P, z.Q, z.K, z.H, z.W, z.C, 2 - z.pad_h, 2 - z.pad_w};
}

/// One of a tile's places on the picture: image, row and column of its first result.
struct TilePlace {
  int n, p, q;
  __device__ __forceinline__ TilePlace(const TiledShape& z, int64_t tile) {
    const int in_image = z.rows() * z.columns(), rest = static_cast<int>(tile % in_image);
    n = static_cast<int>(tile / in_image);
    p = rest / z.columns() * 2;
    q = rest % z.columns() * 2;
  }
};

/// weight (K, 3, 3, C) to (16, K, C): G g G^T. kTurned: of the filter turned by half a turn.
template <bool kTurned>
__global__ void winograd_filter_kernel(const float* __restrict__ weight, int K, int C, float* __restrict__ to) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, K C)
  if (element >= int64_t{K} * C) return;
  const float* from = weight + element / C * 9 * C + element % C;
  float half[4][3];  // G g
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    float g[3];
#pragma unroll
    for (int r = 0; r < 3; ++r) g[r] = from[(kTurned ? 8 - r * 3 - s : r * 3 + s) * C];
    half[0][s] = g[0];
    half[1][s] = 0.5f * (g[0] + g[1] + g[2]);
    half[2][s] = 0.5f * (g[0] - g[1] + g[2]);
    half[3][s] = g[2];
  }
  const int64_t place = int64_t{K} * C;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* g = half[i];
    float* row = to + 4 * i * place + element;
    row[0] = g[0];
    row[place] = 0.5f * (g[0] + g[1] + g[2]);
    row[2 * place] = 0.5f * (g[0] - g[1] + g[2]);
    row[3 * place] = g[2];
  }
}

/// x (N, H, W, C) to (16, tiles, C): B^T d B, with 0 for what is padding. Neighbouring threads have neighbouring
/// channels.
__global__ void winograd_picture_kernel(TiledShape z, int64_t tiles, const float* __restrict__ x,
                                        float* __restrict__ to) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, tiles C)
  if (element >= tiles * z.C) return;
  const int c = static_cast<int>(element % z.C);
  const TilePlace at(z, element / z.C);
  float half[4][4];  // B^T d
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    float d[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int h = at.p - z.pad_h + i, w = at.q - z.pad_w + j;
      const bool inside = h >= 0 && h < z.H && w >= 0 && w < z.W;
      d[i] = inside ? x[((int64_t{at.n} * z.H + h) * z.W + w) * z.C + c] : 0.0f;
    }
    half[0][j] = d[0] - d[2];
    half[1][j] = d[1] + d[2];
    half[2][j] = d[2] - d[1];
    half[3][j] = d[1] - d[3];
  }
  const int64_t place = tiles * z.C;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* d = half[i];
    float* row = to + 4 * i * place + element;
    row[0] = d[0] - d[2];
    row[place] = d[1] + d[2];
    row[2 * place] = d[2] - d[1];
    row[3 * place] = d[1] - d[3];
  }
}

/// products (16, tiles, K) to y (N, P, Q, K): A^T m A, through the epilogue.
__global__ void winograd_result_kernel(TiledShape z, int64_t tiles, const float* __restrict__ products,
                                       ConvEpilogue<float> epilogue) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, tiles K)
  if (element >= tiles * z.K) return;
  const int k = static_cast<int>(element % z.K);
  const TilePlace at(z, element / z.K);
  const int64_t place = tiles * z.K;
  float half[2][4];  // A^T m
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    float m[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) m[i] = products[(4 * i + j) * place + element];
    half[0][j] = m[0] + m[1] + m[2];
    half[1][j] = m[1] - m[2] - m[3];
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float* m = half[i];
    const float two[2] = {m[0] + m[1] + m[2], m[1] - m[2] - m[3]};
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (at.p + i < z.P && at.q + j < z.Q)
        store_conv_sum(epilogue, (int64_t{at.n} * z.P + at.p + i) * z.Q + at.q + j, k, two[j]);
  }
}

/// The 16 products, for implicit_gemm.h's loop: blockIdx.z is the place. picture (16, tiles, C); filters (16, K, C), or
/// (16, C, K) where kSwapped.
template <class Tile_, bool kSwapped>
struct PlacesPass {
  using Tile = Tile_;
  static constexpr int kRows = 1;  // of the table of rows, which this pass does not use
  const float* picture;
  const float* filters;
  float* products;  ///< (16, tiles, K)
  int64_t tiles;
  int C, K;

  __host__ __device__ int64_t M() const { return tiles; }
  __host__ __device__ int64_t N() const { return K; }
  __device__ int64_t depth_begin() const { return 0; }
  __device__ int64_t depth_end() const { return C; }

  struct Loader {
    __device__ __forceinline__ Loader(const PlacesPass&, int64_t, int64_t, PatchRow (&)[kRows]) {}
    template <int kPitchA, int kPitchB>
    __device__ __forceinline__ void fetch(const PlacesPass& pass, int64_t m0, int64_t n0, int64_t k0,
                                          PatchRow (&)[kRows], float (&a)[Tile::kBlockK][kPitchA],
                                          float (&b)[Tile::kBlockK][kPitchB]) {
      const float* picture = pass.picture + blockIdx.z * pass.tiles * pass.C;
      const float* filters = pass.filters + int64_t{blockIdx.z} * pass.C * pass.K;
      const int pitch = kSwapped ? pass.K : pass.C;
      load_tile_float4<Tile::kBlockM, Tile::kBlockK, Tile::kThreads, true>(picture, pass.C, m0, pass.tiles, k0, pass.C,
                                                                           rows_are_aligned(picture, pass.C), a);
      load_tile_float4<Tile::kBlockN, Tile::kBlockK, Tile::kThreads, !kSwapped>(filters, pitch, n0, pass.K, k0, pass.C,
                                                                                rows_are_aligned(filters, pitch), b);
    }
  };

  __device__ __forceinline__ void store(int64_t m, int64_t n, float (&four)[4]) const {
    float* to = products + (blockIdx.z * tiles + m) * K + n;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (n + i < K) to[i] = four[i];
  }
};

/// Where the three transformed matrices lie in the workspace, in floats, and how many pictures are taken at a time.
struct Plan {
  int images;
  int64_t picture, products, end;

  Plan(const TiledShape& z, int N) {
    const auto aligned_up = [](int64_t floats) { return ceil_div(floats, 64) * 64; };
    const int64_t image = kPlaces * z.tiles(1) * (z.C + z.K) * static_cast<int64_t>(sizeof(float));
    images = static_cast<int>(std::clamp<int64_t>(part_bytes_to_use(kBudget) / image, 1, N));
    picture = aligned_up(int64_t{kPlaces} * z.C * z.K);
    products = picture + aligned_up(kPlaces * z.tiles(images) * z.C);
    end = products + kPlaces * z.tiles(images) * z.K;
  }
  int64_t bytes() const { return end * static_cast<int64_t>(sizeof(float)); }
};

LaunchConfig config_for(int64_t elements, Stream stream) {
  return {.grid = blocks_for(elements, kBlock), .block = kBlock, .stream = stream};
}

template <bool kSwapped>
void run(const TiledShape& z, int N, const float* x, const float* weight, ConvEpilogue<float> epilogue,
         float* workspace, Stream stream) {
  const Plan plan(z, N);
  float *picture = workspace + plan.picture, *products = workspace + plan.products;
  // weight's axes are (K, C) forward, and the other way round where the pass is backward.
  launch(winograd_filter_kernel<kSwapped>, config_for(int64_t{z.K} * z.C, stream), weight, kSwapped ? z.C : z.K,
         kSwapped ? z.K : z.C, workspace);
  for (int n = 0; n < N; n += plan.images) {
    const int images = std::min(plan.images, N - n);
    const int64_t tiles = z.tiles(images), done = int64_t{n} * z.P * z.Q * z.K;
    launch(winograd_picture_kernel, config_for(tiles * z.C, stream), z, tiles, x + int64_t{n} * z.H * z.W * z.C,
           picture);
    const auto multiply = [&]<class Tile>() {
      launch_implicit_gemm(PlacesPass<Tile, kSwapped>{picture, workspace, products, tiles, z.C, z.K}, 1, kPlaces,
                           stream);
    };
    // 16 places make 16 times the blocks: the wide tile where its rows and columns are mostly there.
    tiles >= WideTile::kBlockM&& z.K >= WideTile::kBlockN ? multiply.template operator()<WideTile>()
                                                          : multiply.template operator()<NarrowTile>();
    ConvEpilogue<float> part = epilogue;
    part.y += done;
    if (part.residual != nullptr) part.residual += done;
    launch(winograd_result_kernel, config_for(tiles * z.K, stream), z, tiles, products, part);
  }
}

}  // namespace

bool conv2d_winograd_takes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return z.R == 3 && z.S == 3 && z.stride_h == 1 && z.stride_w == 1 && z.dilation_h == 1 && z.dilation_w == 1 &&
         z.groups == 1;
}

int64_t conv2d_winograd_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return Plan(forward_tiles(z), z.N).bytes();
}

int64_t conv2d_backward_data_winograd_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return Plan(data_tiles(z), z.N).bytes();
}

void conv2d_winograd(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  run<false>(forward_tiles(z), z.N, as<const float>(operands[kConvX]), as<const float>(operands[kConvWeight]),
             conv_epilogue<float>(problem, operands), static_cast<float*>(workspace), stream);
}

void conv2d_backward_data_winograd(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  run<true>(data_tiles(z), z.N, as<const float>(operands[kDataDy]), as<const float>(operands[kDataWeight]),
            data_epilogue<float>(problem, operands), static_cast<float*>(workspace), stream);
}

}  // namespace weft::WEFT_TARGET
