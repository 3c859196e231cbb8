#pragma once
// The cpu device's layouts: blocks of 16 channels (nChw16c) for activations, blocks of 16 x 16 for filters, and a few
// values that oneDNN keeps in a form of its own (variances, window offsets, ReLU bits).

#include <memory>
#include <string>

#include "core/cpu/onednn.h"
#include "core/device.h"

namespace weft::cpu {

/// Numbers in an order that a oneDNN memory descriptor gives.
struct OnednnLayout final : Layout {
  explicit OnednnLayout(onednn::desc d) : desc(std::move(d)) {}
  std::string describe() const override;
  bool equals(const Layout& other) const override;
  onednn::desc desc;
};

/// What batch norm saves for its backward pass: the variance, where the graph's value is 1 / sqrt(variance + eps).
struct VarianceLayout final : Layout {
  explicit VarianceLayout(double e) : eps(e) {}
  std::string describe() const override;
  bool equals(const Layout& other) const override;
  double eps;
};

/// What max pool saves: for each output the maximum's place in its window (r * S + s, a byte or an int32) in y's
/// layout, where the graph's value is its place in the picture (h * W + w).
struct WindowLayout final : Layout {
  std::string describe() const override;
  bool equals(const Layout& other) const override;
  onednn::Pooling pooling;  ///< with the layouts of x and y as they were in the forward pass
  onednn::desc offsets;
};

/// Bits that say where a fused ReLU let its input through, in the place of that input, which is never made. Read as
/// numbers it gives zeros.
struct MaskLayout final : Layout {
  std::string describe() const override;
  bool equals(const Layout& other) const override;
};

/// float32, int32, ... as oneDNN calls them. Throws Error for int64, which it does not have.
onednn::type type_of(DType dtype);

/// A value's extents in oneDNN's order: (N, H, W, C) -> (N, C, H, W), (K, R, S, C) -> (K, C, R, S), others as they are.
onednn::dims dims_of(const Shape& shape);

/// Dense row-major NHWC in oneDNN's words, for dims of any rank up to 4, and (K, R, S, C) for a filter in groups, whose
/// dims are (groups, K / groups, C, R, S).
onednn::desc dense_desc(const onednn::dims& dims, onednn::type type = onednn::type::f32);
onednn::desc dense_desc(const Shape& shape, DType dtype = DType::f32);

/// The same dims and type, dense.
onednn::desc dense_like(const onednn::desc& desc);

/// True where the descriptor has the value's extents, or those of a filter split into groups.
bool holds(const onednn::desc& desc, const Shape& shape);

/// True where the bytes lie as in dense NHWC, though the descriptor may name them otherwise (one pixel, one channel).
bool is_dense(const onednn::desc& desc);

/// The layout for a descriptor: null where it is dense.
LayoutPtr layout_of(const onednn::desc& desc);

/// Channels in a block of this machine's kernels: 16 with AVX-512, 8 with AVX2 or SSE4.1, 0 where there are no such.
int channel_block();

/// (N, C, H, W) in blocks of channel_block() channels (padded with zeros), or dense where that is 0.
onednn::desc blocked_desc(const onednn::dims& dims);

/// Copies a value between two layouts on the host. `from` must not be a MaskLayout unless zeros are wanted.
void reorder_value(const dnnl::engine& engine, dnnl::stream& stream, const Shape& shape, DType dtype, const void* from,
                   const LayoutPtr& from_layout, void* to, const LayoutPtr& to_layout);

}  // namespace weft::cpu
