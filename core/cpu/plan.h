#pragma once
// Which algorithm a convolution takes: a pure function of its shape, the instruction set, the number of threads and the
// library's version. It comes from an earlier run's plan where one is given, else from a rule; --tune measures instead,
// and the run's plan keeps what it found.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"

namespace weft::cpu {

enum class ConvolutionAlgorithm {
  winograd,  ///< F(4x4, 3x3): Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016
  direct,
};
std::string_view name_of(ConvolutionAlgorithm algorithm);

enum class ConvolutionPass { forward, backward_data, backward_filter };

/// Extents of a convolution; P and Q are y's.
struct ConvolutionShape {
  ConvolutionPass pass = ConvolutionPass::forward;
  std::int64_t N = 0, H = 0, W = 0, C = 0, K = 0, R = 0, S = 0, P = 0, Q = 0;
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1, groups = 1;

  /// "forward N64 H16 W16 C64 K64 R3 S3 stride1,1 pad1,1 dilation1,1", and " groups64" where there are several.
  std::string key() const;
  /// Winograd's transform is for 3 x 3 filters that step by one. Pictures smaller than a tile are left out: a tile's
  /// rounding errors are as large as its largest terms, and there some sums have far fewer terms than others. The
  /// library has none for groups.
  bool winograd_fits() const;
};

/// "avx512_core", "avx2", "sse41" or "generic": what oneDNN generates code for here.
std::string isa_name();
/// "2.6.3".
std::string library_version();

/// The choice where nobody measured: the cheaper one by a model of both, fitted on measurements (plan.cpp says how).
ConvolutionAlgorithm rule_choice(const ConvolutionShape& shape);

class Plan {
 public:
  Plan(const CompileOptions& options, int threads);

  /// The choice for a shape if it is known without measuring: strict math, an earlier plan, a measurement made before.
  bool known(const ConvolutionShape& shape, ConvolutionAlgorithm& choice) const;
  /// By known(), else by the rule.
  ConvolutionAlgorithm choose(const ConvolutionShape& shape) const;
  void remember(const ConvolutionShape& shape, ConvolutionAlgorithm choice);
  /// Adds a node's line.
  void record(const std::string& node, const ConvolutionShape& shape, ConvolutionAlgorithm choice);

  /// First "cpu avx512_core, 2 threads, oneDNN 2.6.3, fast", then a line a node: name, shape, algorithm.
  std::string text() const;

 private:
  std::string machine_;
  Math math_;
  std::map<std::string, ConvolutionAlgorithm, std::less<>> by_key_;
  std::vector<std::string> lines_;
};

}  // namespace weft::cpu
