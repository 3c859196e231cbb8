#pragma once
// The SGD step as passes of oneDNN's binary primitives over a flat range. Rates come in as tensors of one element, so
// that a schedule makes no new primitives.

#include <map>

#include "core/cpu/compiler.h"

namespace weft::cpu {

class Sgd {
 public:
  /// kernels/ops.h: SgdStep. Throws Error where there is a momentum but no velocity.
  void step(const Runtime& runtime, const SgdArguments& arguments);

 private:
  /// The group that begins at `begin`.
  void step_group(const Runtime& runtime, const SgdArguments& arguments, const SgdArguments::Group& group,
                  std::int64_t begin);
  /// y = x * factor + z, over n floats: two forms, for oneDNN multiplies and then adds one more tensor or y itself.
  struct Passes {
    dnnl::primitive multiply_add;         ///< y = x * factor + z
    dnnl::primitive multiply_accumulate;  ///< y += x * factor
  };
  const Passes& passes(const Runtime& runtime, std::int64_t n);

  std::map<std::int64_t, Passes> passes_;
};

}  // namespace weft::cpu
