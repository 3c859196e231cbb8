#pragma once
// Whether weights from a file fit a model: what Model::load asks, and weft_doctor of every architecture.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "nn/model.h"

namespace weft {

/// How the tensors of a file agree with what a model has. A filter (K, C, R, S) is compared as (K, R, S, C), and
/// num_batches_tracked is passed over.
struct WeightsFit {
  std::string arch;
  std::int64_t channels = 0, size = 0;  ///< of the pictures that it was compared for
  bool sized = false;                   ///< shapes of its parameters follow the pictures' size
  std::int64_t head_classes = 0;        ///< of the head in the file; 0: it has none
  std::size_t fitting = 0;              ///< tensors of the right name and shape
  std::vector<std::string> new_head;    ///< parameters of the head that the file lacks, or has for other classes
  std::vector<std::string> missing;     ///< names of the trunk that the file lacks
  std::vector<std::string> unexpected;  ///< names of the file that the model lacks
  std::vector<std::string> misshapen;   ///< "fc.weight is (3, 100) in the file, (2, 512) in resnet18"

  /// Model::load takes the file; the head aside where new_head says so.
  bool fits() const { return missing.empty() && unexpected.empty() && misshapen.empty(); }
  /// "it lacks conv1.weight; it has fc9.bias, which resnet18 does not": the first few of each; empty where it fits.
  std::string differences() const;
};

/// Of these tensors, as load_tensors (core/safetensors.h) gives them, and this model.
WeightsFit fit_of(const std::map<std::string, Tensor>& tensors, const Model& model);
/// The same with each architecture there is, prepared for the pictures that the file's shapes tell of where that can be
/// told; the nearest first: by the share of names and shapes that both have.
std::vector<WeightsFit> architecture_fits(const std::map<std::string, Tensor>& tensors);

/// True for what batch norm counts or averages while it trains, by torch's names: no parameter.
bool is_statistic(const std::string& name);

}  // namespace weft
