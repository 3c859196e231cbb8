// gemm, rung 16, TMA store. The formula and its costs stand in gemm.h; how a pair of blocks works in cluster_pair.h.

#include "kernels/gemm/cluster_pair.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr int kBlockM = 128, kBlockN = 256, kStages = 4;
/// Each consumer warpgroup's result leaves in pieces of 64 x 64, through one of two buffers in shared memory.
constexpr int kPiece = 64, kPieceBytes = kPiece * kPiece * 2, kBuffers = 2;

#if WEFT_HAS_HOPPER

/// Writes columns kPiece * piece and on of a warpgroup's sums to `buffer`, finished and rounded, as a box of TMA with
/// the 128-byte swizzle. A lane holds pairs of neighbours in rows; stmatrix takes four 8 x 8 tiles of them, 16 columns,
/// at once.
/// kPlain: there is nothing to finish but alpha, which spares each pair the questions whether there is.
template <bool kPlain, class T, int kRegisters>
__device__ __forceinline__ void write_piece(const GemmCall<T, bfloat16>& call, int64_t m0, int64_t n0, int piece,
                                            float (&sums)[kRegisters], unsigned char* buffer) {
  const bool aligned = epilogue_is_aligned<2>(call);
  const int thread = static_cast<int>(threadIdx.x) % 128, lane = thread % 32;
  const int row =
      thread / 32 * 16 + lane % 16;  // whose address this lane gives: lanes 0-15 columns 0-7, 16-31 columns 8-15
  const int64_t m = m0 + thread / 32 * 16 + lane / 4, n = n0 + piece * kPiece + lane % 4 * 2;
#pragma unroll
  for (int column = 0; column < kPiece; column += 16) {
    std::uint32_t tiles[4];
#pragma unroll
    for (int tile = 0; tile < 4; ++tile) {  // upper and lower eight rows of the left, then of the right columns
      const int i = (piece * kPiece + column) / 8 * 4 + tile * 2;
      float pair[2] = {sums[i], sums[i + 1]};
      const int64_t at = m + tile % 2 * 8;
      if constexpr (kPlain) {
        pair[0] *= call.alpha;
        pair[1] *= call.alpha;
      } else if (at < call.M) {
        finish_sums<2>(call, at, n + column + tile / 2 * 8, aligned, pair);
      }
      const __nv_bfloat162 rounded = __floats2bfloat162_rn(pair[0], pair[1]);
      tiles[tile] = __bfloat16_as_ushort(rounded.x) | static_cast<std::uint32_t>(__bfloat16_as_ushort(rounded.y)) << 16;
    }
    const int chunk = (column / 8 + lane / 16) ^ (row % 8);
    stmatrix_x4(buffer + row * 128 + chunk * 16, tiles);
  }
}

#endif

// Rung 16, TMA store. A consumer of rung 15 wrote each pair of its sums straight to y: 4 bytes a lane, eight rows of 16
// bytes an instruction, 64 times over, and until the last one was on its way the tensor cores had nothing to do. Here a
// piece of 64 x 64 goes to shared memory with four stmatrix, and the copy engine carries it off, whole lines at a time
// and nothing beyond y's edge, while the next piece is made and while the next tile is multiplied: a buffer is waited
// for only when it is to be written again.
template <bool kTransA, bool kTransB, class T>
__global__ void __launch_bounds__(kRingThreads, 1)
    gemm_tma_store_kernel(GemmCall<T, bfloat16> call, TileOrder order, const __grid_constant__ TensorMap map_a,
                          const __grid_constant__ TensorMap map_b, const __grid_constant__ TensorMap map_y) {
#if WEFT_HAS_HOPPER
  using TileA = WgmmaTile<kBlockM, !kTransA>;
  using TileB = WgmmaTile<kBlockN, kTransB>;
  const Ring<TileA, TileB, kStages, 2 * kBuffers * kPieceBytes> ring{dynamic_shared<unsigned char>()};
  const int tiles = static_cast<int>((call.K + TileA::kDepth - 1) / TileA::kDepth);
  begin_pair(ring);

  RingPosition<kStages> at;
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  const int first = static_cast<int>(blockIdx.x / kClusterBlocks), step = static_cast<int>(gridDim.x / kClusterBlocks);
  const auto row_of = [&](TilePlace place) {
    return (place.row * static_cast<int>(kClusterBlocks) + static_cast<int>(cluster_rank())) * kBlockM;
  };
  if (warpgroup == 0) {
    set_max_registers_dec<kProducerRegisters>();
    if (threadIdx.x == 0) {
      for (int index = first; index < order.count(); index += step) {
        const TilePlace place = order.place(index);
        produce_pair(ring, at, map_a, map_b, row_of(place), place.column * kBlockN, tiles);
      }
    }
    __syncwarp();  // the producer's warp comes to the cluster's barrier as one
  } else {
    set_max_registers_inc<kConsumerRegisters>();
    const int group = warpgroup - 1;  // rows 64 group and on
    unsigned char* const buffers = ring.more() + group * kBuffers * kPieceBytes;
    const bool stores = threadIdx.x % 128 == 0;  // the thread that issues the warpgroup's stores
    const unsigned barrier = 1 + static_cast<unsigned>(group);
    const bool plain = call.beta == 0 && call.bias == nullptr && call.residual == nullptr && !call.relu;
    for (int index = first; index < order.count(); index += step) {
      const TilePlace place = order.place(index);
      const int m0 = row_of(place) + group * 64, n0 = place.column * kBlockN;
      float sums[kBlockN / 2];
      ring.consume(at, group, tiles, sums, [&](int stage) { release_pair(ring, stage); });
#pragma unroll
      for (int piece = 0; piece < kBlockN / kPiece; ++piece) {
        unsigned char* const buffer = buffers + piece % kBuffers * kPieceBytes;
        if (stores) bulk_wait_group_read<kBuffers - 1>();  // the store before the last one has read this buffer
        named_barrier_sync(barrier, 128);
        if (plain)
          write_piece<true>(call, m0, n0, piece, sums, buffer);
        else
          write_piece<false>(call, m0, n0, piece, sums, buffer);
        fence_proxy_async();
        named_barrier_sync(barrier, 128);
        if (stores) {
          tma_store_2d(map_y, n0 + piece * kPiece, m0, buffer);
          bulk_commit_group();
        }
      }
    }
    if (stores) bulk_wait_group_read<0>();  // the buffers go with the block
    __syncwarp();
  }
  // The other block may still write here, and arrive.
  cluster_sync();
#endif
}

TensorMap map_of_y(const GemmCall<bfloat16, bfloat16>& call) {
  GlobalTensor tensor;
  tensor.base = call.y;
  tensor.rank = 2;
  tensor.extents[0] = call.N;
  tensor.extents[1] = call.M;
  tensor.strides[1] = call.ldy * 2;
  tensor.swizzle = Swizzle::bytes128;
  const int box[2] = {kPiece, kPiece};
  return encode_tiled(tensor, box);
}

}  // namespace

void gemm_tma_store(const GemmCall<bfloat16, bfloat16>& call, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    using TileA = WgmmaTile<kBlockM, !kTransA>;
    using TileB = WgmmaTile<kBlockN, kTransB>;
    const PairOrder pairs = pair_order<kBlockM, kBlockN>(call);
    launch(gemm_tma_store_kernel<kTransA, kTransB, bfloat16>,
           {.grid = dim3(pairs.blocks),
            .block = dim3(kRingThreads),
            .shared_bytes = Ring<TileA, TileB, kStages, 2 * kBuffers * kPieceBytes>::kSharedBytes,
            .stream = stream,
            .cluster = dim3(kClusterBlocks)},
           call, pairs.order, TileA::map(call.a, call.lda, call.M, call.K),
           TileB::template map<kClusterBlocks>(call.b, call.ldb, call.N, call.K), map_of_y(call));
  });
}

}  // namespace weft::WEFT_TARGET
