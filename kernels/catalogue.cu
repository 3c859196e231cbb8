#include "kernels/catalogue_ops.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr const Op* kOps[] = {
    &gemm,                      //
    &bias_add,                  //
    &bias_backward,             //
    &relu,                      //
    &relu_backward,             //
    &add,                       //
    &max_pool,                  //
    &max_pool_backward,         //
    &avg_pool,                  //
    &avg_pool_backward,         //
    &global_avg_pool,           //
    &global_avg_pool_backward,  //
    &fill,                      //
    &scale,                     //
    &sum,                       //
};

}  // namespace

std::span<const Op* const> catalogue() {
  return kOps;
}

}  // namespace weft::WEFT_TARGET
