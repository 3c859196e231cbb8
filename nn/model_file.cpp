// Weights in files: what fits, what does not, and what the file looks like instead.

#include "nn/model_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/safetensors.h"
#include "kernels/error.h"

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

/// A model of the architecture for pictures of this many channels and, where its shapes follow their size, of the
/// square that the file's shapes tell of, up to a side; no fit of the shapes leaves it at its own size.
WeightsFit fit_of_architecture(const std::map<std::string, Tensor>& tensors, const std::string& arch,
                               std::int64_t channels) {
  constexpr std::int64_t kLeast = 16, kMost = 320;
  Model model = make_model(arch, {"a", "b"}, channels);
  WeightsFit own = fit_of(tensors, model);
  const auto shapes = model.shapes();
  own.sized = Model(model).set_size(kMost, kMost).shapes() != shapes;
  if (own.fits() || !own.sized || own.misshapen.empty()) return own;
  for (std::int64_t size = kLeast; size <= kMost; ++size) {
    WeightsFit fit = fit_of(tensors, model.set_size(size, size));
    fit.sized = true;
    if (fit.fitting > own.fitting) return fit;
  }
  return own;
}

double agreement(const WeightsFit& fit) {
  const std::size_t differing = fit.missing.size() + fit.unexpected.size() + fit.misshapen.size();
  const std::size_t all = fit.fitting + fit.new_head.size() + differing;
  return all == 0 ? 0 : static_cast<double>(fit.fitting) / static_cast<double>(all);
}

}  // namespace

bool is_statistic(const std::string& name) {
  return is_counter(name) || name.ends_with("running_mean") || name.ends_with("running_var");
}

std::string WeightsFit::differences() const {
  std::vector<std::string> parts;
  if (!missing.empty()) parts.push_back("it lacks " + first_few(missing));
  if (!unexpected.empty()) parts.push_back(fmt::format("it has {}, which {} does not", first_few(unexpected), arch));
  if (!misshapen.empty()) parts.push_back(first_few(misshapen));
  return fmt::format("{}", fmt::join(parts, "; "));
}

WeightsFit fit_of(const std::map<std::string, Tensor>& tensors, const Model& model) {
  WeightsFit fit{.arch = model.arch(), .channels = model.channels(), .size = model.height()};
  const std::map<std::string, Shape> wanted = model.shapes();
  for (const auto& [name, shape] : wanted) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      (model.in_head(name) ? fit.new_head : fit.missing).push_back(name);
      continue;
    }
    const Shape here = shape_here(found->second.shape());
    if (model.in_head(name) && here.rank() > 0) fit.head_classes = here[0];
    if (here == shape) {
      ++fit.fitting;
      continue;
    }
    // A head for other classes differs in how many come out, and in nothing else.
    Shape for_these_classes = here;
    if (here.rank() > 0) for_these_classes.set(0, static_cast<std::int64_t>(model.classes().size()));
    if (model.in_head(name) && for_these_classes == shape)
      fit.new_head.push_back(name);
    else
      fit.misshapen.push_back(
          fmt::format("{} is {} in the file, {} in {}", name, to_string(here), to_string(shape), model.arch()));
  }
  for (const auto& [name, tensor] : tensors)
    if (!wanted.contains(name) && !is_counter(name)) fit.unexpected.push_back(name);
  return fit;
}

std::vector<WeightsFit> architecture_fits(const std::map<std::string, Tensor>& tensors) {
  std::vector<WeightsFit> fits;
  for (const std::string& arch : model_names()) {
    fits.push_back(fit_of_architecture(tensors, arch, 3));
    if (!fits.back().sized || fits.back().fits()) continue;
    WeightsFit grey = fit_of_architecture(tensors, arch, 1);
    if (grey.fitting > fits.back().fitting) fits.back() = std::move(grey);
  }
  std::stable_sort(fits.begin(), fits.end(),
                   [](const WeightsFit& a, const WeightsFit& b) { return agreement(a) > agreement(b); });
  return fits;
}

Model& Model::load(const std::filesystem::path& path) & {
  const std::map<std::string, Tensor> tensors = load_tensors(path);
  const WeightsFit fit = fit_of(tensors, *this);
  if (!fit.fits()) {
    const WeightsFit nearest = architecture_fits(tensors).front();
    const bool other = nearest.fits() && nearest.arch != arch_;
    fail(fmt::format("{} does not fit {}{}; {}", path.string(), arch_,
                     other ? fmt::format("; it looks like {}", nearest.arch) : "", fit.differences()));
  }
  StateDict loaded;
  // Half a head would be neither the file's nor new.
  for (const auto& [name, shape] : shapes()) {
    if (!fit.new_head.empty() && in_head(name)) continue;
    const Tensor tensor = tensors.at(name).to(DType::f32);
    loaded[name] = shape.rank() == kFilterRank ? filter_from_torch(tensor) : tensor;
  }
  notes_.clear();
  if (!fit.new_head.empty()) {
    const std::string why =
        fit.head_classes == 0 ? "the file has none" : fmt::format("the file's is for {} classes", fit.head_classes);
    notes_.push_back(
        fmt::format("the head ({}) is new, for {} classes: {}", first_few(fit.new_head), classes_.size(), why));
  }
  state_ = std::move(loaded);
  complete_ = false;
  return *this;
}

Model Model::load(const std::filesystem::path& path) && {
  load(path);
  return std::move(*this);
}

void Model::save(const std::filesystem::path& path) const {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : state())
    tensors[name] = tensor.shape().rank() == kFilterRank ? filter_to_torch(tensor) : tensor;
  save_safetensors(path, tensors, {{"format", "pt"}});
}

}  // namespace weft
