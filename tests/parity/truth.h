#pragma once
// A file of one training step as PyTorch computes it in float64, and what is compared with it.

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/parameter_store.h"
#include "core/tensor.h"

namespace weft::parity {

/// Names: param.P, grad.P, after.P for each parameter P (after: running statistics too); in.M, out.M, gin.M, gout.M for
/// each module M; input, labels, logits, loss. Tensors of rank 4 are here as Weft holds them: pictures (N, H, W, C),
/// filters (K, R, S, C).
class Truth {
 public:
  /// Throws Error where the file cannot be read or lacks what every such file has.
  explicit Truth(const std::filesystem::path& path);

  bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// Throws Error naming the file and the tensor where there is none.
  const Tensor& at(const std::string& name) const;
  /// "layer1.0.conv1" of each "in.layer1.0.conv1".
  std::vector<std::string> modules() const;
  /// All "<prefix>NAME" by NAME.
  StateDict with_prefix(std::string_view prefix) const;
  /// "labels" as the graph wants them: int32.
  Tensor labels() const;

 private:
  std::string file_;
  std::map<std::string, Tensor> tensors_;
};

/// ||got - truth|| / max(||truth||, least), in double. NaN where the shapes differ.
double relative_error(const Tensor& got, const Tensor& truth, double least = 1e-6);
/// ||values||, in double.
double norm_of(const Tensor& values);

/// The same over several tensors as one vector.
class VectorError {
 public:
  void add(const Tensor& got, const Tensor& truth);
  double value(double least = 1e-6) const;

 private:
  double difference_ = 0, norm_ = 0;
};

}  // namespace weft::parity
