// Every wrapped instruction of kernels/ptx/ in a kernel, each template at its bounds, each overload: so that nvcc reads
// all of its PTX and ptxas assembles it, also where no kernel of the library uses it. Nothing here is ever launched;
// that an instruction does what it should is tested in ptx_*_test.cpp. ptx_assembles_test.sh compiles it,
// ptx_tested_test.sh demands that no wrapper is missing.

#include <cstdint>

#include "kernels/ptx.h"

namespace weft::WEFT_TARGET {

// Bodies stand under the same conditions as the wrappers: what is empty on sm_80 is compiled for sm_90a.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define WEFT_HAS_SM90 1
#else
#define WEFT_HAS_SM90 0
#endif

__global__ void wrap_cp_async(unsigned char* shared, const unsigned char* global, int bytes, std::uint64_t* barrier) {
  cp_async_ca<4>(shared, global);
  cp_async_ca<8>(shared, global);
  cp_async_ca<16>(shared, global, bytes);
  cp_async_cg(shared, global);
  cp_async_cg(shared, global, bytes);
  cp_async_commit_group();
  cp_async_wait_group<0>();
  cp_async_wait_group<7>();
  cp_async_wait_all();
  cp_async_mbarrier_arrive_noinc(barrier);
}

__global__ void wrap_ldmatrix(const void* shared) {
  std::uint32_t one[1], two[2], four[4];  // the instructions are volatile: they stay though nobody reads these
  ldmatrix_x1(one, shared);
  ldmatrix_x2(two, shared);
  ldmatrix_x4(four, shared);
  ldmatrix_x1_trans(one, shared);
  ldmatrix_x2_trans(two, shared);
  ldmatrix_x4_trans(four, shared);
}

__global__ void wrap_stmatrix([[maybe_unused]] void* shared, [[maybe_unused]] const std::uint32_t* in) {
#if WEFT_HAS_SM90
  const std::uint32_t one[1] = {in[0]}, two[2] = {in[1], in[2]}, four[4] = {in[3], in[4], in[5], in[6]};
  stmatrix_x1(shared, one);
  stmatrix_x2(shared, two);
  stmatrix_x4(shared, four);
  stmatrix_x1_trans(shared, one);
  stmatrix_x2_trans(shared, two);
  stmatrix_x4_trans(shared, four);
#endif
}

__global__ void wrap_mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float value) {
  const std::uint32_t half_a[2] = {a[0], a[1]}, half_b[1] = {b[0]};
  mma_m16n8k16_bf16(d, a, b, d);
  mma_m16n8k8_bf16(d, half_a, half_b, d);
  const std::uint32_t rounded[4] = {cvt_rna_tf32(value), cvt_rna_tf32(d[0]), a[2], a[3]};
  mma_m16n8k8_tf32(d, rounded, b, d);
}

__global__ void wrap_barriers(std::uint64_t* barrier, unsigned count) {
  mbarrier_init(barrier, count);
  mbarrier_inval(barrier);
  named_barrier_sync(1, 64);
  named_barrier_sync(count, count);
  named_barrier_arrive(15, 64);
  named_barrier_arrive(count, count);
}

__global__ void wrap_mbarrier([[maybe_unused]] std::uint64_t* barrier, [[maybe_unused]] unsigned value,
                              [[maybe_unused]] bool* done) {
#if WEFT_HAS_HOPPER
  mbarrier_arrive(barrier);
  mbarrier_arrive(barrier, value);
  mbarrier_arrive_expect_tx(barrier, value);
  mbarrier_expect_tx(barrier, value);
  mbarrier_complete_tx(barrier, value);
  done[0] = mbarrier_test_wait_parity(barrier, value);
  done[1] = mbarrier_try_wait_parity(barrier, value);
  mbarrier_wait(barrier, value);
#endif
}

__global__ void wrap_fences([[maybe_unused]] bool* elected) {
#if WEFT_HAS_HOPPER
  fence_proxy_async();
  fence_mbarrier_init();
  *elected = elect_one();
#endif
}

// setmaxnreg is refused where ptxas does not know how many registers a kernel begins with.
__global__ void __launch_bounds__(256, 1) wrap_set_max_registers([[maybe_unused]] int* out) {
#if WEFT_HAS_HOPPER
  if (threadIdx.x < 128) {
    set_max_registers_dec<24>();
    out[0] = 1;
  } else {
    set_max_registers_inc<256>();
    out[1] = 1;
  }
#endif
}

__global__ void wrap_cluster([[maybe_unused]] unsigned* out, [[maybe_unused]] std::uint64_t* barrier) {
#if WEFT_HAS_HOPPER
  __shared__ unsigned word;
  word = cluster_size();
  cluster_arrive();
  cluster_wait();
  cluster_arrive_relaxed();
  cluster_wait();
  *out = *map_shared_rank(&word, cluster_rank());
  mbarrier_arrive_cluster(barrier, *out);
  mbarrier_arrive_cluster_relaxed(barrier, *out);
  cluster_sync();
#endif
}

__global__ void wrap_tma_loads([[maybe_unused]] const __grid_constant__ TensorMap map, [[maybe_unused]] void* shared,
                               [[maybe_unused]] std::uint64_t* barrier, [[maybe_unused]] int x,
                               [[maybe_unused]] std::uint16_t ranks) {
#if WEFT_HAS_HOPPER
  prefetch_tensor_map(map);
  tma_prefetch_2d(map, x, 1);
  tma_load_1d(shared, map, x, barrier);
  tma_load_2d(shared, map, x, 1, barrier);
  tma_load_3d(shared, map, x, 1, 2, barrier);
  tma_load_4d(shared, map, x, 1, 2, 3, barrier);
  tma_load_5d(shared, map, x, 1, 2, 3, 4, barrier);
  tma_load_multicast_2d(shared, map, x, 1, barrier, ranks);
  tma_load_multicast_3d(shared, map, x, 1, 2, barrier, ranks);
  tma_load_multicast_4d(shared, map, x, 1, 2, 3, barrier, ranks);
  tma_load_multicast_5d(shared, map, x, 1, 2, 3, 4, barrier, ranks);
  tma_load_im2col_3d(shared, map, x, 1, 2, ranks, barrier);
  tma_load_im2col_4d(shared, map, x, 1, 2, 3, ranks, 1, barrier);
  tma_load_im2col_5d(shared, map, x, 1, 2, 3, 4, ranks, 1, 2, barrier);
#endif
}

__global__ void wrap_tma_stores([[maybe_unused]] const __grid_constant__ TensorMap map,
                                [[maybe_unused]] const void* shared, [[maybe_unused]] int x) {
#if WEFT_HAS_HOPPER
  tma_store_1d(map, x, shared);
  tma_store_2d(map, x, 1, shared);
  tma_store_3d(map, x, 1, 2, shared);
  tma_store_4d(map, x, 1, 2, 3, shared);
  tma_store_5d(map, x, 1, 2, 3, 4, shared);
  tma_store_im2col_3d(map, x, 1, 2, shared);
  tma_store_im2col_4d(map, x, 1, 2, 3, shared);
  tma_store_im2col_5d(map, x, 1, 2, 3, 4, shared);
  tma_reduce_add_2d(map, x, 1, shared);
  bulk_commit_group();
  bulk_wait_group<0>();
  bulk_wait_group<7>();
  bulk_wait_group_read<0>();
  bulk_wait_group_read<7>();
#endif
}

__global__ void wrap_bulk([[maybe_unused]] unsigned char* global, [[maybe_unused]] unsigned char* shared,
                          [[maybe_unused]] unsigned bytes, [[maybe_unused]] std::uint64_t* barrier) {
#if WEFT_HAS_HOPPER
  bulk_load(shared, global, bytes, barrier);
  bulk_store(global, shared, bytes);
#endif
}

#if WEFT_HAS_HOPPER
/// Products in kCount accumulators, fences and waits around them. What `product` issues is all that differs.
template <int kCount, class Product>
__device__ void wrap_products(float* out, const Product& product) {
  float d[kCount];
  for (int i = 0; i < kCount; ++i) d[i] = out[i];
  wgmma_fence();
  product(d);
  wgmma_commit_group();
  wgmma_wait_group<7>();
  wgmma_wait_group<0>();
  wgmma_keep(d);
  for (int i = 0; i < kCount; ++i) out[i] = d[i];
}
#endif

template <int kCount>
__global__ void wrap_wgmma_bf16([[maybe_unused]] float* out, [[maybe_unused]] const unsigned char* shared,
                                [[maybe_unused]] int scale) {
#if WEFT_HAS_HOPPER
  const std::uint64_t a = wgmma_descriptor(shared, Swizzle::bytes128, 16, 1024), b = wgmma_advance(a, 8192);
  wrap_products<kCount>(out, [&](float(&d)[kCount]) {
    wgmma_bf16<false, false>(d, a, b, scale);
    wgmma_bf16<false, true>(d, a, b, scale);
    wgmma_bf16<true, false>(d, a, b, scale);
    wgmma_bf16<true, true>(d, a, b, scale);
  });
#endif
}

template <int kCount>
__global__ void wrap_wgmma_bf16_registers([[maybe_unused]] float* out, [[maybe_unused]] const unsigned char* shared,
                                          [[maybe_unused]] int scale, [[maybe_unused]] const std::uint32_t* fragment) {
#if WEFT_HAS_HOPPER
  const std::uint64_t b = wgmma_descriptor(shared, Swizzle::bytes128, 16, 1024);
  const std::uint32_t a[4] = {fragment[0], fragment[1], fragment[2], fragment[3]};
  wrap_products<kCount>(out, [&](float(&d)[kCount]) {
    wgmma_bf16<false>(d, a, b, scale);
    wgmma_bf16<true>(d, a, b, scale);
  });
#endif
}

template <int kCount>
__global__ void wrap_wgmma_tf32([[maybe_unused]] float* out, [[maybe_unused]] const unsigned char* shared,
                                [[maybe_unused]] int scale) {
#if WEFT_HAS_HOPPER
  const std::uint64_t a = wgmma_descriptor(shared, Swizzle::none, 128, 256), b = wgmma_advance(a, 8192);
  wrap_products<kCount>(out, [&](float(&d)[kCount]) { wgmma_tf32(d, a, b, scale); });
#endif
}

template __global__ void wrap_wgmma_bf16<32>(float*, const unsigned char*, int);
template __global__ void wrap_wgmma_bf16<64>(float*, const unsigned char*, int);
template __global__ void wrap_wgmma_bf16<96>(float*, const unsigned char*, int);
template __global__ void wrap_wgmma_bf16<128>(float*, const unsigned char*, int);
template __global__ void wrap_wgmma_bf16_registers<32>(float*, const unsigned char*, int, const std::uint32_t*);
template __global__ void wrap_wgmma_bf16_registers<64>(float*, const unsigned char*, int, const std::uint32_t*);
template __global__ void wrap_wgmma_bf16_registers<96>(float*, const unsigned char*, int, const std::uint32_t*);
template __global__ void wrap_wgmma_bf16_registers<128>(float*, const unsigned char*, int, const std::uint32_t*);
template __global__ void wrap_wgmma_tf32<32>(float*, const unsigned char*, int);
template __global__ void wrap_wgmma_tf32<64>(float*, const unsigned char*, int);
template __global__ void wrap_wgmma_tf32<128>(float*, const unsigned char*, int);

}  // namespace weft::WEFT_TARGET
