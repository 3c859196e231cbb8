#include "kernels/catalogue_ops.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr const Op* kOps[] = {&relu};

}  // namespace

std::span<const Op* const> catalogue() {
  return kOps;
}

}  // namespace weft::WEFT_TARGET
