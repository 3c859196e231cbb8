#include "kernels/catalogue_ops.h"

namespace weft::WEFT_TARGET {
namespace {

// One op a line.
constexpr const Op* kOps[] = {
    &gemm,  //
    &relu,  //
};

}  // namespace

std::span<const Op* const> catalogue() {
  return kOps;
}

}  // namespace weft::WEFT_TARGET
