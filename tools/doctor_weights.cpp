#include "tools/doctor_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "core/dtype.h"
#include "core/safetensors.h"
#include "core/text.h"
#include "kernels/error.h"
#include "nn/model_file.h"

namespace weft {
namespace {

void print_contents(std::string_view format, const std::map<std::string, Tensor>& tensors) {
  double parameters = 0, statistics = 0;
  std::size_t bytes = 0;
  std::set<std::string_view> dtypes;
  for (const auto& [name, tensor] : tensors) {
    (is_statistic(name) ? statistics : parameters) += static_cast<double>(tensor.elements());
    bytes += tensor.bytes();
    dtypes.insert(name_of(tensor.dtype()));
  }
  fmt::print("holds   {}: {} tensor{}, {} parameters", format, tensors.size(), tensors.size() == 1 ? "" : "s",
             count_text(parameters));
  if (statistics > 0) fmt::print(" and {} running statistics", count_text(statistics));
  fmt::print(", {}, {}\n", fmt::join(dtypes, ", "), bytes_text(bytes));
}

std::string head_text(const WeightsFit& fit) {
  if (fit.head_classes == 0) return "all but the head, which the file does not have: a new one is made";
  return fmt::format("its head is for {} classes; for another number a new one is made", fit.head_classes);
}

}  // namespace

int examine_weights(const std::filesystem::path& path) {
  const std::map<std::string, Tensor> tensors = load_tensors(path);
  if (tensors.empty()) fail(fmt::format("{} holds no tensors", path.string()));
  fmt::print("{}\n", path.string());
  print_contents(tensor_format(path), tensors);

  const std::vector<WeightsFit> fits = architecture_fits(tensors);
  for (const WeightsFit& fit : fits) {
    if (!fit.fits()) continue;
    fmt::print("fits    {}; {}\n", fit.arch, head_text(fit));
    if (fit.sized)
      fmt::print("        for pictures of {} x {}, {}\n", fit.size, fit.size,
                 fit.channels == 1 ? "grey" : fmt::format("{} channels", fit.channels));
  }
  const WeightsFit& nearest = fits.front();
  if (nearest.fits()) return 0;
  fmt::print("fits    none of {}\n", fmt::join(model_names(), ", "));
  if (nearest.fitting == 0)
    fmt::print("nearest none: no tensor has the name and shape of one of theirs\n");
  else
    fmt::print("nearest {}: {} tensors fit, but {}\n", nearest.arch, nearest.fitting, nearest.differences());
  return 1;
}

}  // namespace weft
