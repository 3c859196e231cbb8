// Weights in files: what fits, what does not, and what the file looks like instead.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/safetensors.h"
#include "kernels/error.h"
#include "nn/model.h"

namespace weft {
namespace {

constexpr int kFilterRank = 4;

bool is_counter(const std::string& name) {
  return name.ends_with("num_batches_tracked");
}

/// The shape a file's tensor has here: filters (K, C, R, S) become (K, R, S, C).
Shape shape_here(const Shape& in_file) {
  if (in_file.rank() != kFilterRank) return in_file;
  return {in_file[0], in_file[2], in_file[3], in_file[1]};
}

/// "a, b, c and 5 more".
std::string first_few(const std::vector<std::string>& names) {
  constexpr std::size_t kFew = 4;
  if (names.size() <= kFew) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + kFew, ", "), names.size() - kFew);
}

/// The architecture whose names and shapes a file has, its head's number of classes aside; empty: none that is known.
std::string looks_like(const std::map<std::string, Tensor>& tensors) {
  std::size_t counted = 0;
  for (const auto& [name, tensor] : tensors) counted += !is_counter(name);
  for (const std::string& arch : model_names()) {
    const Model model = make_model(arch, {"a", "b"});
    const std::map<std::string, Shape> shapes = model.shapes();
    // Sizes of lenet's and mlp's layers follow the pictures', so for those the names alone decide.
    const bool sized = arch == "mlp" || arch == "lenet";
    std::size_t fitting = 0;
    for (const auto& [name, shape] : shapes) {
      const auto found = tensors.find(name);
      if (found == tensors.end()) continue;
      const bool same = shape_here(found->second.shape()) == shape;
      fitting += same || sized || model.in_head(name);
    }
    const std::size_t head = static_cast<std::size_t>(
        std::count_if(shapes.begin(), shapes.end(), [&](const auto& entry) { return model.in_head(entry.first); }));
    if (fitting == counted && (fitting == shapes.size() || fitting + head == shapes.size())) return arch;
  }
  return {};
}

}  // namespace

Model& Model::load(const std::filesystem::path& path) & {
  const std::map<std::string, Tensor> tensors = load_tensors(path);
  const std::map<std::string, Shape> wanted = shapes();
  StateDict loaded;
  std::vector<std::string> missing, unexpected, misshapen, left_out;
  for (const auto& [name, shape] : wanted) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      (in_head(name) ? left_out : missing).push_back(name);
      continue;
    }
    const Tensor& tensor = found->second;
    const Shape here = shape_here(tensor.shape());
    if (here == shape) {
      loaded[name] = shape.rank() == kFilterRank ? filter_from_torch(tensor.to(DType::f32)) : tensor.to(DType::f32);
      continue;
    }
    // A head for other classes differs in how many come out, and in nothing else.
    Shape for_these_classes = here;
    if (here.rank() > 0) for_these_classes.set(0, static_cast<std::int64_t>(classes_.size()));
    if (in_head(name) && for_these_classes == shape)
      left_out.push_back(name);
    else
      misshapen.push_back(
          fmt::format("{} is {} in the file, {} in {}", name, to_string(here), to_string(shape), arch_));
  }
  for (const auto& [name, tensor] : tensors)
    if (!wanted.contains(name) && !is_counter(name)) unexpected.push_back(name);
  if (!missing.empty() || !unexpected.empty() || !misshapen.empty())
    refuse(path, tensors, missing, unexpected, misshapen);
  notes_.clear();
  if (!left_out.empty()) {
    const auto found = tensors.find(left_out.back());
    const std::string why = found == tensors.end()
                                ? "the file has none"
                                : fmt::format("the file's is for {} classes", found->second.shape()[0]);
    notes_.push_back(
        fmt::format("the head ({}) is new, for {} classes: {}", first_few(left_out), classes_.size(), why));
    // Half a head would be neither the file's nor new.
    for (const auto& [name, shape] : wanted)
      if (in_head(name)) loaded.erase(name);
  }
  state_ = std::move(loaded);
  complete_ = false;
  return *this;
}

Model Model::load(const std::filesystem::path& path) && {
  load(path);
  return std::move(*this);
}

void Model::refuse(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                   const std::vector<std::string>& missing, const std::vector<std::string>& unexpected,
                   const std::vector<std::string>& misshapen) const {
  std::string message = fmt::format("{} does not fit {}", path.string(), arch_);
  const std::string looks = looks_like(tensors);
  if (!looks.empty() && looks != arch_) message += fmt::format("; it looks like {}", looks);
  if (!missing.empty()) message += fmt::format("; it lacks {}", first_few(missing));
  if (!unexpected.empty()) message += fmt::format("; it has {}, which {} does not", first_few(unexpected), arch_);
  if (!misshapen.empty()) message += fmt::format("; {}", first_few(misshapen));
  fail(message);
}

void Model::save(const std::filesystem::path& path) const {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : state())
    tensors[name] = tensor.shape().rank() == kFilterRank ? filter_to_torch(tensor) : tensor;
  save_safetensors(path, tensors, {{"format", "pt"}});
}

}  // namespace weft
