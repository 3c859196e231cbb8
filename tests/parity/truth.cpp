#include "tests/parity/truth.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/safetensors.h"
#include "kernels/error.h"

namespace weft::parity {

Truth::Truth(const std::filesystem::path& path) : file_(path.string()), tensors_(load_safetensors(path)) {
  for (auto& [name, tensor] : tensors_) {
    if (tensor.dtype() != DType::f32) fail(file_ + ": " + name + " is not float32");
    if (tensor.shape().rank() == 4) tensor = nchw_to_nhwc(tensor);  // a filter (K, C, R, S) moves its axes alike
  }
  for (const char* name : {"input", "labels", "logits", "loss"}) at(name);
}

const Tensor& Truth::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(file_ + " has no tensor " + name + ": is it one of parity.py's files?");
  return found->second;
}

std::vector<std::string> Truth::modules() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_)
    if (name.starts_with("in.")) names.push_back(name.substr(3));
  return names;
}

StateDict Truth::with_prefix(std::string_view prefix) const {
  StateDict found;
  for (const auto& [name, tensor] : tensors_)
    if (name.starts_with(prefix)) found.emplace(name.substr(prefix.size()), tensor);
  return found;
}

Tensor Truth::labels() const {
  const Tensor& floats = at("labels");
  Tensor labels(floats.shape(), DType::i32);
  std::ranges::transform(floats.values<float>(), labels.values<std::int32_t>().begin(),
                         [](float label) { return static_cast<std::int32_t>(label); });
  return labels;
}

void VectorError::add(const Tensor& got, const Tensor& truth) {
  if (got.shape() != truth.shape()) {
    difference_ = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  const std::span<const float> a = got.values<float>(), b = truth.values<float>();
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    difference_ += difference * difference;
    norm_ += static_cast<double>(b[i]) * b[i];
  }
}

double VectorError::value(double least) const {
  return std::sqrt(difference_) / std::max(std::sqrt(norm_), least);
}

double relative_error(const Tensor& got, const Tensor& truth, double least) {
  VectorError error;
  error.add(got, truth);
  return error.value(least);
}

double norm_of(const Tensor& values) {
  double sum = 0;
  for (const float value : values.values<float>()) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

}  // namespace weft::parity
