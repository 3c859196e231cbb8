#include "core/cpu/plan.h"

#include <fmt/format.h>

#include <dnnl.hpp>
#include <sstream>

namespace weft::cpu {

std::string_view name_of(ConvolutionAlgorithm algorithm) {
  return algorithm == ConvolutionAlgorithm::winograd ? "winograd" : "direct";
}

namespace {

std::string_view name_of(ConvolutionPass pass) {
  switch (pass) {
    case ConvolutionPass::forward:
      return "forward";
    case ConvolutionPass::backward_data:
      return "backward_data";
    default:
      return "backward_filter";
  }
}

std::int64_t tiles_along(std::int64_t extent) {
  return (extent + 3) / 4;
}

}  // namespace

std::string ConvolutionShape::key() const {
  return fmt::format("{} N{} H{} W{} C{} K{} R{} S{} stride{},{} pad{},{} dilation{},{}{}", name_of(pass), N, H, W, C,
                     K, R, S, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
                     groups == 1 ? "" : fmt::format(" groups{}", groups));
}

bool ConvolutionShape::winograd_fits() const {
  return groups == 1 && R == 3 && S == 3 && stride_h == 1 && stride_w == 1 && dilation_h == 1 && dilation_w == 1 &&
         pad_h <= 1 && pad_w <= 1 && P >= 4 && Q >= 4 && H >= 4 && W >= 4;
}

std::string isa_name() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto has = [&](dnnl::cpu_isa wanted) {
    return (isa & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted);
  };
  if (has(dnnl::cpu_isa::avx512_core)) return "avx512_core";
  if (has(dnnl::cpu_isa::avx2)) return "avx2";
  if (has(dnnl::cpu_isa::sse41) && isa != 0) return "sse41";
  return "generic";
}

std::string library_version() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("{}.{}.{}", v->major, v->minor, v->patch);
}

// A model of the time for each pair of an input and an output channel, in nanoseconds, for 2 cores with AVX-512. Its
// constants are fitted by hand to oneDNN 2.6.3 and are no measurement; the plan of --tune, which times both algorithms
// of each layer, has the last word. Direct: 18 flops for each output pixel, at 450 GFLOP/s. Winograd: the filter's
// transform (a constant, twice as dear for its gradient), 36 products for each tile of 4 x 4 pixels, and the transforms
// of the tiles, which are shared by the channels of the other side. What matters is where the two cross: few tiles with
// many channels (the last layers of a net on small pictures) are better off direct.
ConvolutionAlgorithm rule_choice(const ConvolutionShape& s) {
  if (!s.winograd_fits() || isa_name() != "avx512_core") return ConvolutionAlgorithm::direct;
  if (s.C < 16 || s.K < 16) return ConvolutionAlgorithm::direct;
  const bool filter = s.pass == ConvolutionPass::backward_filter;
  const bool data = s.pass == ConvolutionPass::backward_data;
  const double tiles =
      static_cast<double>(data ? s.N * tiles_along(s.H) * tiles_along(s.W) : s.N * tiles_along(s.P) * tiles_along(s.Q));
  const double pixels = static_cast<double>(s.N * s.P * s.Q);
  const double per_channel = 1.0 / static_cast<double>(s.C) + 1.0 / static_cast<double>(s.K);
  const double direct = 0.04 * pixels;
  const double winograd = (filter ? 19.0 : 9.5) + 0.27 * tiles + (filter ? 6.0 : 1.4) * tiles * per_channel;
  return winograd < direct ? ConvolutionAlgorithm::winograd : ConvolutionAlgorithm::direct;
}

Plan::Plan(const CompileOptions& options, int threads)
    : machine_(fmt::format("cpu {}, {} threads, oneDNN {}", isa_name(), threads, library_version())),
      math_(options.math) {
  // An earlier plan: "<node> | <key> | <algorithm>". Lines of another form are another device's.
  std::istringstream lines(options.plan);
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(" | "), last = line.rfind(" | ");
    if (first == std::string::npos || first == last) continue;
    const std::string key = line.substr(first + 3, last - first - 3), algorithm = line.substr(last + 3);
    if (algorithm == "winograd") by_key_[key] = ConvolutionAlgorithm::winograd;
    if (algorithm == "direct") by_key_[key] = ConvolutionAlgorithm::direct;
  }
}

bool Plan::known(const ConvolutionShape& shape, ConvolutionAlgorithm& choice) const {
  if (math_ == Math::strict || !shape.winograd_fits()) {
    choice = ConvolutionAlgorithm::direct;
    return true;
  }
  const auto found = by_key_.find(shape.key());
  if (found == by_key_.end()) return false;
  choice = found->second;
  return true;
}

ConvolutionAlgorithm Plan::choose(const ConvolutionShape& shape) const {
  ConvolutionAlgorithm choice;
  return known(shape, choice) ? choice : rule_choice(shape);
}

void Plan::remember(const ConvolutionShape& shape, ConvolutionAlgorithm choice) {
  by_key_[shape.key()] = choice;
}

void Plan::record(const std::string& node, const ConvolutionShape& shape, ConvolutionAlgorithm choice) {
  lines_.push_back(fmt::format("{} | {} | {}", node, shape.key(), name_of(choice)));
}

std::string Plan::text() const {
  std::string out = fmt::format("{}, {}\n", machine_, name_of(math_));
  for (const std::string& line : lines_) out += line + "\n";
  return out;
}

}  // namespace weft::cpu
