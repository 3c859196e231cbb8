#pragma once
// Tensor maps: what the copy engine (TMA, sm_90) has to know of a tensor in global memory and of the boxes that are
// copied from it and to it. Built on the host by encode_tiled() or encode_im2col(), given to a kernel as a parameter
// `const __grid_constant__ TensorMap map`, used by the instructions in kernels/ptx/tma.h.
//
// Axes are counted from the innermost: extents[0] are the elements that lie side by side.

#include <cstdint>

#include "kernels/target.h"

namespace weft::WEFT_TARGET {

enum class TensorElement : std::uint8_t { bf16, f32, u8, i32 };

/// How the 16-byte chunks of a box's rows lie in shared memory: within every span of eight rows, chunks change places
/// so that a column of them falls into different banks. Bits 4 and up of the shared address are XORed with bits 7 and
/// up: one bit for 32 bytes, two for 64, three for 128.
enum class Swizzle : std::uint8_t { none, bytes32, bytes64, bytes128 };

/// Bytes of a row that take part: a box's row must be as long. 0 for none.
__host__ __device__ constexpr unsigned swizzle_span(Swizzle swizzle) {
  return swizzle == Swizzle::none ? 0 : 16u << static_cast<unsigned>(swizzle);
}

/// The tensor itself.
struct GlobalTensor {
  const void* base = nullptr;  ///< a multiple of 16
  TensorElement element = TensorElement::bf16;
  int rank = 0;                  ///< 1 to 5
  std::int64_t extents[5] = {};  ///< in elements, 1 to 2^32
  std::int64_t strides[5] =
      {};  ///< in bytes, of axes 1 and up: multiples of 16 below 2^40. strides[0] is not looked at
  int element_strides[5] = {1, 1, 1, 1, 1};  ///< every how many-th element is copied, 1 to 8; axis 0: 1
  Swizzle swizzle = Swizzle::none;
};

/// 128 bytes that only the copy engine reads.
#if WEFT_TARGET_IS_CUDA
struct alignas(64) TensorMap {
  unsigned char opaque[128];
};
#else
struct alignas(64) TensorMap {
  std::uint32_t mark = 0;  // kTensorMapMark: it is one
  std::uint8_t rank = 0, element_bytes = 0, im2col = 0;
  TensorElement element = TensorElement::bf16;
  const unsigned char* base = nullptr;
  std::int64_t extents[5] = {}, strides[5] = {};
  std::uint8_t element_strides[5] = {};
  Swizzle swizzle = Swizzle::none;
  // Tiled: the box, as many elements of it as are copied. Im2col: channels and pixels in box[0] and box[1].
  std::uint16_t box[5] = {};
  std::int16_t lower[3] = {}, upper[3] = {};  // im2col's bounding box, relative to the tensor's corners
};
inline constexpr std::uint32_t kTensorMapMark = 0x77654674;
#endif
static_assert(sizeof(TensorMap) == 128 && alignof(TensorMap) == 64);

/// A map of boxes of box[0] x box[1] x ... elements (1 to 256 each; a row of the box is a multiple of 16 bytes, and as
/// long as the swizzle's span where there is one). Of an axis with an element stride s, a box copies ceil(box / s)
/// elements. What lies outside the tensor is read as zeros and not written. Throws weft::Error with what is not
/// allowed.
TensorMap encode_tiled(const GlobalTensor& tensor, const int* box);

/// A map that reads an (N, H, W, C) tensor, of rank 3 to 5 with C innermost and N outermost, as a convolution does: a
/// column of `pixels` (1 to 1024) neighbouring positions of the filter's corner, with `channels` (1 to 256) of each.
/// Positions lie within the bounding box from lower[i] to extents[i + 1] - 1 + upper[i] (both inclusive, i from W
/// outwards), and go on in the next row, then in the next image, where they come to its end. Throws weft::Error with
/// what is not allowed.
TensorMap encode_im2col(const GlobalTensor& tensor, const int* lower, const int* upper, int channels, int pixels);

}  // namespace weft::WEFT_TARGET
