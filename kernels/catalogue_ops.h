#pragma once
// The entries of the catalogue, one for each op, and the list of them. A kernel file defines its ops' entries; the list
// in catalogue.cu is the one line that a new op adds outside its own file.

#include <span>

#include "kernels/catalogue.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

extern const Op gemm;
extern const Op relu;

/// Every op, in the order of kernels/ops.h.
std::span<const Op* const> catalogue();

}  // namespace weft::WEFT_TARGET
