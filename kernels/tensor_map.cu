// Tensor maps: what is allowed, and the map itself. The rules are those of the CUDA driver API, "Tensor Map Object
// Management": cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col.
#include "kernels/tensor_map.h"

#include <string>

#include "kernels/error.h"

#if WEFT_TARGET_IS_CUDA
#include <cuda.h>
#include <cudaTypedefs.h>

#include "kernels/launch.h"
#endif

namespace weft::WEFT_TARGET {
namespace {

int element_bytes(TensorElement element) {
  return element == TensorElement::u8 ? 1 : element == TensorElement::bf16 ? 2 : 4;
}

[[noreturn]] void refuse(const std::string& what) {
  fail("tensor map: " + what);
}

void check_range(const char* name, int axis, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most)
    refuse(std::string(name) + " of axis " + std::to_string(axis) + " is " + std::to_string(value) + ", not within " +
           std::to_string(least) + " to " + std::to_string(most));
}

void check_tensor(const GlobalTensor& tensor, int least_rank) {
  if (tensor.rank < least_rank || tensor.rank > 5)
    refuse("a rank of " + std::to_string(tensor.rank) + " is not within " + std::to_string(least_rank) + " to 5");
  if (reinterpret_cast<std::uintptr_t>(tensor.base) % 16 != 0 || tensor.base == nullptr)
    refuse("the tensor's address must be a multiple of 16, and not null");
  for (int axis = 0; axis < tensor.rank; ++axis) {
    check_range("the extent", axis, tensor.extents[axis], 1, std::int64_t{1} << 32);
    check_range("the element stride", axis, tensor.element_strides[axis], 1, axis == 0 ? 1 : 8);
    if (axis == 0) continue;
    check_range("the stride", axis, tensor.strides[axis], 0, (std::int64_t{1} << 40) - 1);
    if (tensor.strides[axis] % 16 != 0)
      refuse("the stride of axis " + std::to_string(axis) + " is " + std::to_string(tensor.strides[axis]) +
             " bytes, not a multiple of 16");
  }
}

// The driver also takes a row that is shorter than the swizzle's span, and then leaves room in shared memory.
void check_row(const GlobalTensor& tensor, int elements) {
  const auto bytes = static_cast<unsigned>(elements * element_bytes(tensor.element));
  const unsigned span = swizzle_span(tensor.swizzle);
  if (bytes % 16 != 0) refuse("a row of the box is " + std::to_string(bytes) + " bytes, not a multiple of 16");
  if (span != 0 && bytes != span)
    refuse("a row of the box is " + std::to_string(bytes) + " bytes, but a swizzle of " + std::to_string(span) +
           " bytes wants as many");
}

#if WEFT_TARGET_IS_CUDA

CUtensorMapDataType driver_type(TensorElement element) {
  switch (element) {
    case TensorElement::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case TensorElement::f32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case TensorElement::u8:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    case TensorElement::i32:
      return CU_TENSOR_MAP_DATA_TYPE_INT32;
  }
  refuse("an element of no known type");
}

CUtensorMapSwizzle driver_swizzle(Swizzle swizzle) {
  switch (swizzle) {
    case Swizzle::none:
      return CU_TENSOR_MAP_SWIZZLE_NONE;
    case Swizzle::bytes32:
      return CU_TENSOR_MAP_SWIZZLE_32B;
    case Swizzle::bytes64:
      return CU_TENSOR_MAP_SWIZZLE_64B;
    case Swizzle::bytes128:
      return CU_TENSOR_MAP_SWIZZLE_128B;
  }
  refuse("a swizzle of no known kind");
}

/// The driver's function of this name, found through the runtime: the program is not linked with libcuda, and so starts
/// where there is no driver.
template <class Function>
Function driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check_cuda(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found), name);
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    refuse(std::string("this NVIDIA driver has no ") + name + ": it must be one for CUDA 12 at least");
  return reinterpret_cast<Function>(function);
}

/// The tensor in the driver's types.
struct DriverTensor {
  cuuint64_t extents[5], strides[4];
  cuuint32_t element_strides[5];
};

DriverTensor driver_tensor(const GlobalTensor& tensor) {
  DriverTensor of{};
  for (int axis = 0; axis < tensor.rank; ++axis) {
    of.extents[axis] = static_cast<cuuint64_t>(tensor.extents[axis]);
    of.element_strides[axis] = static_cast<cuuint32_t>(tensor.element_strides[axis]);
    if (axis > 0) of.strides[axis - 1] = static_cast<cuuint64_t>(tensor.strides[axis]);
  }
  return of;
}

void check_driver(CUresult result, const char* name) {
  if (result != CUDA_SUCCESS)
    refuse(std::string(name) + " failed with error " + std::to_string(static_cast<int>(result)));
}

TensorMap make_tiled(const GlobalTensor& tensor, const int* box) {
  static const auto encode = driver_function<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled");
  const DriverTensor of = driver_tensor(tensor);
  cuuint32_t extents[5] = {};
  for (int axis = 0; axis < tensor.rank; ++axis) extents[axis] = static_cast<cuuint32_t>(box[axis]);
  TensorMap map;
  check_driver(encode(reinterpret_cast<CUtensorMap*>(&map), driver_type(tensor.element),
                      static_cast<cuuint32_t>(tensor.rank), const_cast<void*>(tensor.base), of.extents, of.strides,
                      extents, of.element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, driver_swizzle(tensor.swizzle),
                      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
               "cuTensorMapEncodeTiled");
  return map;
}

TensorMap make_im2col(const GlobalTensor& tensor, const int* lower, const int* upper, int channels, int pixels) {
  static const auto encode = driver_function<PFN_cuTensorMapEncodeIm2col_v12000>("cuTensorMapEncodeIm2col");
  const DriverTensor of = driver_tensor(tensor);
  TensorMap map;
  check_driver(
      encode(reinterpret_cast<CUtensorMap*>(&map), driver_type(tensor.element), static_cast<cuuint32_t>(tensor.rank),
             const_cast<void*>(tensor.base), of.extents, of.strides, lower, upper, static_cast<cuuint32_t>(channels),
             static_cast<cuuint32_t>(pixels), of.element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE,
             driver_swizzle(tensor.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "cuTensorMapEncodeIm2col");
  return map;
}

#else

TensorMap make(const GlobalTensor& tensor) {
  TensorMap map;
  map.mark = kTensorMapMark;
  map.rank = static_cast<std::uint8_t>(tensor.rank);
  map.element = tensor.element;
  map.element_bytes = static_cast<std::uint8_t>(element_bytes(tensor.element));
  map.base = static_cast<const unsigned char*>(tensor.base);
  map.swizzle = tensor.swizzle;
  for (int axis = 0; axis < tensor.rank; ++axis) {
    map.extents[axis] = tensor.extents[axis];
    map.strides[axis] = axis == 0 ? map.element_bytes : tensor.strides[axis];
    map.element_strides[axis] = static_cast<std::uint8_t>(tensor.element_strides[axis]);
  }
  return map;
}

TensorMap make_tiled(const GlobalTensor& tensor, const int* box) {
  TensorMap map = make(tensor);
  for (int axis = 0; axis < tensor.rank; ++axis)
    map.box[axis] =
        static_cast<std::uint16_t>((box[axis] + tensor.element_strides[axis] - 1) / tensor.element_strides[axis]);
  return map;
}

TensorMap make_im2col(const GlobalTensor& tensor, const int* lower, const int* upper, int channels, int pixels) {
  TensorMap map = make(tensor);
  map.im2col = 1;
  map.box[0] = static_cast<std::uint16_t>(channels);
  map.box[1] = static_cast<std::uint16_t>(pixels);
  for (int i = 0; i < tensor.rank - 2; ++i) {
    map.lower[i] = static_cast<std::int16_t>(lower[i]);
    map.upper[i] = static_cast<std::int16_t>(upper[i]);
  }
  return map;
}

#endif

}  // namespace

TensorMap encode_tiled(const GlobalTensor& tensor, const int* box) {
  check_tensor(tensor, 1);
  for (int axis = 0; axis < tensor.rank; ++axis) check_range("the box", axis, box[axis], 1, 256);
  check_row(tensor, box[0]);
  return make_tiled(tensor, box);
}

TensorMap encode_im2col(const GlobalTensor& tensor, const int* lower, const int* upper, int channels, int pixels) {
  check_tensor(tensor, 3);
  // 16 bits hold all corners, so the more axes there are, the fewer bits each has.
  const int most = tensor.rank == 3 ? 1 << 15 : tensor.rank == 4 ? 1 << 7 : 1 << 4;
  for (int i = 0; i < tensor.rank - 2; ++i) {
    check_range("the bounding box's lower corner", i + 1, lower[i], -most, most - 1);
    check_range("the bounding box's upper corner", i + 1, upper[i], -most, most - 1);
    if (tensor.extents[i + 1] - 1 + upper[i] < lower[i])
      refuse("the bounding box holds no position along axis " + std::to_string(i + 1));
  }
  if (channels < 1 || channels > 256) refuse(std::to_string(channels) + " channels are not within 1 to 256");
  if (pixels < 1 || pixels > 1024) refuse(std::to_string(pixels) + " pixels are not within 1 to 1024");
  check_row(tensor, channels);
  return make_im2col(tensor, lower, upper, channels, pixels);
}

}  // namespace weft::WEFT_TARGET
