// conv2d on Hopper's tensor cores, implicit-persistent, forward and backward data: blocks that stay. The formula and
// its costs stand in conv.h, the ring in patch_ring.h, the way out in gemm/store_pieces.h.

#include <algorithm>

#include "kernels/conv/epilogue.h"
#include "kernels/conv/patch_ring.h"
#include "kernels/gemm/store_pieces.h"
#include "kernels/gemm/tile_order.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {
namespace {

template <int kBlockN>
constexpr int kStages = kBlockN == 64 ? 6 : 5;
template <bool kBackward, int kBlockN>
using Tiles = PatchRing<kBackward, kBlockN, kStages<kBlockN>, 2 * kPieceBuffersBytes>;

// Implicit persistent. A block of implicit-wgmma fetched, multiplied, and wrote its sums from registers, 4 bytes a
// lane, in turns, and its ring left room for no second block on the SM. A 1 x 1 layer of 64 channels has one step along
// the depth: three turns of waiting for each tile. Here, as in gemm's rungs 14 and 16, there is a block for each SM,
// which takes tile after tile: the ring goes on across tiles, so the next ones' patches are on their way while sums are
// finished, and the result leaves through stmatrix and the copy engine, whole lines at a time, while the next tile is
// multiplied. The price: rows of the result must be channels in eights, and pixels that follow each other, so backward
// data with a stride, whose classes are every other pixel, stays with implicit-wgmma. So does backward filter: its
// few tiles are cut into slices until there are some two for each SM and no more, so that a block that stays would find
// no next tile to fetch ahead for, and what it writes are float sums, not pieces of a bfloat16 result.
template <bool kBackward, int kBlockN>
__global__ void __launch_bounds__(kRingThreads, 1)
    conv2d_implicit_persistent_kernel(ConvShape z, const __grid_constant__ Patches patches, TileOrder order,
                                      const __grid_constant__ TensorMap map,
                                      const __grid_constant__ TensorMap map_weight,
                                      const __grid_constant__ TensorMap map_y, ConvEpilogue<bfloat16> epilogue,
                                      ChunkMoments moments) {
#if WEFT_HAS_HOPPER
  const Tiles<kBackward, kBlockN> ring{dynamic_shared<unsigned char>()};
  if (threadIdx.x == 0) ring.initialise(2);
  __syncthreads();

  typename Tiles<kBackward, kBlockN>::Position at;
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  const int first = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x);
  if (warpgroup == 0) {
    set_max_registers_dec<kProducerRegisters>();
    if (threadIdx.x == 0) {
      for (int index = first; index < order.count(); index += step) {
        const TilePlace place = order.place(index);
        produce_patches<kBackward, kBlockN>(ring, at, z, patches, map, map_weight, int64_t{place.row} * kPatchBlockM,
                                            place.column * kBlockN);
      }
    }
  } else {
    set_max_registers_inc<kConsumerRegisters>();
    const int group = warpgroup - 1;  // rows 64 group and on
    const int columns = kBackward ? z.C : z.K, steps = steps_of(patches);
    const unsigned barrier = 1 + static_cast<unsigned>(group);
    unsigned char* const buffers = ring.more() + group * kPieceBuffersBytes;
    auto* const scratch =
        reinterpret_cast<float*>(ring.more() + 2 * kPieceBuffersBytes + group * gather_bytes(kBlockN));
    const bool aligned = conv_epilogue_is_aligned<2>(epilogue);
    const bool plain =
        epilogue.scale == nullptr && epilogue.bias == nullptr && epilogue.residual == nullptr && !epilogue.relu;
    for (int index = first; index < order.count(); index += step) {
      const TilePlace place = order.place(index);
      const int64_t m0 = int64_t{place.row} * kPatchBlockM + group * 64;
      const int n0 = place.column * kBlockN;
      float sums[kBlockN / 2];
      ring.consume(at, group, steps, sums, [&](int stage) {
        if (threadIdx.x % 128 == 0) mbarrier_arrive(ring.empty(stage));
      });
      // The barriers of store_pieces() stand between the scratch memory's uses.
      if (!kBackward && moments.at != nullptr)
        gather_registers<bfloat16>(moments, m0, n0, columns, sums, scratch, barrier);
      if (plain)
        store_pieces(map_y, m0, n0, sums, buffers, barrier, [](int64_t, int64_t, float(&)[2]) {});
      else
        store_pieces(map_y, m0, n0, sums, buffers, barrier, [&](int64_t row, int64_t column, float(&pair)[2]) {
          if (row < patches.height() && column < columns)
            finish_conv_sums<2>(epilogue, row, static_cast<int>(column), columns - static_cast<int>(column), aligned,
                                pair);
        });
    }
    if (threadIdx.x % 128 == 0) bulk_wait_group_read<0>();  // the buffers go with the block
  }
#endif
}

template <bool kBackward, int kBlockN>
void launch_persistent(const ConvShape& z, const Patches& patches, const bfloat16* source, const bfloat16* weight,
                       const ConvEpilogue<bfloat16>& epilogue, const ChunkMoments& moments, Stream stream) {
  const TileOrder order{static_cast<int>(ceil_div(patches.height(), kPatchBlockM)),
                        static_cast<int>(ceil_div(epilogue.K, kBlockN))};
  launch(conv2d_implicit_persistent_kernel<kBackward, kBlockN>,
         {.grid = dim3(static_cast<unsigned>(std::min(order.count(), multiprocessor_count()))),
          .block = dim3(kRingThreads),
          .shared_bytes = Tiles<kBackward, kBlockN>::kSharedBytes,
          .stream = stream},
         z, patches, order, patch_map(patches, source, kPatchBlockM), filter_map(z, weight, kBackward ? 64 : kBlockN),
         piece_map(epilogue.y, epilogue.K, patches.height(), epilogue.K), epilogue, moments);
}

/// epilogue.K is how many channels the result has.
template <bool kBackward>
void launch_tiles(const ConvShape& z, const Patches& patches, const bfloat16* source, const bfloat16* weight,
                  const ConvEpilogue<bfloat16>& epilogue, const ChunkMoments& moments, Stream stream) {
  if (epilogue.K > 64)
    launch_persistent<kBackward, 128>(z, patches, source, weight, epilogue, moments, stream);
  else
    launch_persistent<kBackward, 64>(z, patches, source, weight, epilogue, moments, stream);
}

}  // namespace

void conv2d_implicit_persistent(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  launch_tiles<false>(z, forward_patches(z), as<const bfloat16>(operands[kConvX]),
                      as<const bfloat16>(operands[kConvWeight]), conv_epilogue<bfloat16>(problem, operands), {},
                      stream);
}

void conv2d_backward_data_implicit_persistent(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  launch_tiles<true>(z, data_patches(z, 0), as<const bfloat16>(operands[kDataDy]),
                     as<const bfloat16>(operands[kDataWeight]), data_epilogue<bfloat16>(problem, operands), {}, stream);
}

void conv2d_statistics_implicit_persistent(const Problem& problem, void* const* operands, void* workspace,
                                           Stream stream) {
  const ConvShape z = conv_shape(problem);
  const ChunkMoments chunks = chunk_moments(z, workspace);
  launch_tiles<false>(z, forward_patches(z), as<const bfloat16>(operands[kStatisticsX]),
                      as<const bfloat16>(operands[kStatisticsWeight]),
                      {nullptr, nullptr, nullptr, as<bfloat16>(operands[kStatisticsY]), z.K, false}, chunks, stream);
  merge_chunk_moments(chunks, as<float>(operands[kStatisticsMean]), as<float>(operands[kStatisticsVar]), stream);
}

bool takes_implicit_persistent(const Problem& problem) {
  return takes_implicit_wgmma(problem) && conv_shape(problem).K % 8 == 0;
}

bool takes_backward_data_implicit_persistent(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return takes_backward_data_implicit_wgmma(problem) && z.stride_h == 1 && z.stride_w == 1;
}

}  // namespace weft::WEFT_TARGET
