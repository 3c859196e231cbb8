#pragma once
// Measures a primitive on buffers of its own, for --tune.

#include <utility>
#include <vector>

#include "core/cpu/compiler.h"

namespace weft::cpu {

/// Seconds of the fastest of several runs, on random numbers; about a fifth of a second is spent.
double measure(Runtime& runtime, const dnnl::primitive& primitive,
               const std::vector<std::pair<int, onednn::desc>>& arguments);

inline std::vector<std::pair<int, onednn::desc>> arguments_of(const dnnl::convolution_forward::primitive_desc& pd) {
  return {{DNNL_ARG_SRC, pd.src_desc()},
          {DNNL_ARG_WEIGHTS, pd.weights_desc()},
          {DNNL_ARG_BIAS, pd.bias_desc()},
          {DNNL_ARG_DST, pd.dst_desc()},
          {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
}
inline std::vector<std::pair<int, onednn::desc>> arguments_of(
    const dnnl::convolution_backward_data::primitive_desc& pd) {
  return {{DNNL_ARG_DIFF_SRC, pd.diff_src_desc()},
          {DNNL_ARG_WEIGHTS, pd.weights_desc()},
          {DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
          {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
}
inline std::vector<std::pair<int, onednn::desc>> arguments_of(
    const dnnl::convolution_backward_weights::primitive_desc& pd) {
  return {{DNNL_ARG_SRC, pd.src_desc()},
          {DNNL_ARG_DIFF_WEIGHTS, pd.diff_weights_desc()},
          {DNNL_ARG_DIFF_BIAS, pd.diff_bias_desc()},
          {DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
          {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
}

template <class Primitive, class PrimitiveDesc>
double measure(Runtime& runtime, const PrimitiveDesc& pd) {
  return measure(runtime, Primitive(pd), arguments_of(pd));
}

}  // namespace weft::cpu
