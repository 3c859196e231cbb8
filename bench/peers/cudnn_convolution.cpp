// Convolutions through cuDNN's graph API: a graph of one operation, or of a forward and what its epilogue does, the
// engine configurations that its heuristics propose for it, an execution plan of each, timed.

#include <algorithm>
#include <chrono>
#include <map>

#include "bench/peers/cudnn.h"
#include "kernels/ops.h"

namespace weft::bench {
namespace {

using extents::Conv2d;

/// An opaque object of the graph API.
class Descriptor {
 public:
  Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type) : cudnn_(cudnn) {
    cudnn.check(cudnn.f.cudnnBackendCreateDescriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { cudnn_.f.cudnnBackendDestroyDescriptor(descriptor_); }

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const std::vector<T>& values) {
    cudnn_.check(cudnn_.f.cudnnBackendSetAttribute(descriptor_, name, type, static_cast<std::int64_t>(values.size()),
                                                   values.data()),
                 fmt::format("attribute {} of the graph API", static_cast<int>(name)).c_str());
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::vector{value.get()});
  }
  Descriptor& set(cudnnBackendAttributeName_t name, bool value) {
    cudnn_.check(cudnn_.f.cudnnBackendSetAttribute(descriptor_, name, CUDNN_TYPE_BOOLEAN, 1, &value),
                 fmt::format("attribute {} of the graph API", static_cast<int>(name)).c_str());
    return *this;
  }
  cudnnStatus_t try_finalize() { return cudnn_.f.cudnnBackendFinalize(descriptor_); }
  Descriptor& finalize() {
    cudnn_.check(try_finalize(), "cudnnBackendFinalize");
    return *this;
  }
  /// Up to `most` values; as many as there are.
  template <class T>
  std::vector<T> values(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most) const {
    std::vector<T> found(static_cast<std::size_t>(most));
    std::int64_t count = 0;
    cudnn_.check(cudnn_.f.cudnnBackendGetAttribute(descriptor_, name, type, most, &count, found.data()),
                 "cudnnBackendGetAttribute");
    found.resize(static_cast<std::size_t>(std::min(count, most)));
    return found;
  }

 private:
  const Cudnn& cudnn_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};
using DescriptorPtr = std::unique_ptr<Descriptor>;

/// A tensor (n, c, h, w) that lies in memory as NHWC; a filter (k, c, r, s) as KRSC. One that is `between` two
/// operations of a graph never reaches memory.
DescriptorPtr tensor(const Cudnn& cudnn, std::int64_t id, DType dtype, std::int64_t n, std::int64_t c, std::int64_t h,
                     std::int64_t w, bool between = false) {
  auto made = std::make_unique<Descriptor>(cudnn, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made->set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, std::vector{cudnn_type(dtype)})
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::vector<std::int64_t>{n, c, h, w})
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::vector<std::int64_t>{h * w * c, 1, w * c, c})
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, std::vector<std::int64_t>{id})
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, std::vector<std::int64_t>{16})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, between)
      .finalize();
  return made;
}

/// What the three passes differ in.
struct PassAttributes {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
  const char *x_name, *w_name, *y_name;
};

constexpr PassAttributes kForward = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                                     "x",
                                     "weight",
                                     "y"};
constexpr PassAttributes kBackwardData = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
                                          "dx",
                                          "weight",
                                          "dy"};
constexpr PassAttributes kBackwardFilter = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                                            "x",
                                            "dweight",
                                            "dy"};

enum : std::int64_t { kX = 1, kW, kY, kScale, kBias, kResidual, kFirstBetween };

/// A tensor of the graph that lies in memory, and our operand that it is.
struct Bound {
  std::int64_t id;
  const char* name;
};

bool has_epilogue(const Problem& problem) {
  return std::ranges::any_of(std::array{Conv2d::has_bias, Conv2d::has_scale, Conv2d::has_residual, Conv2d::relu},
                             [&](int extent) { return problem.extents[extent] != 0; });
}

/// The graph of one convolution, with the descriptors that it refers to: conv [* scale] [+ bias] [+ residual] [ReLU],
/// what is between in float32.
class ConvolutionGraph {
 public:
  ConvolutionGraph(const Cudnn& cudnn, const PassAttributes& pass, const Problem& problem, const Operand& y)
      : cudnn_(cudnn),
        bound_{{kX, pass.x_name}, {kW, pass.w_name}, {kY, pass.y_name}},
        y_dims_{y.dims[0], y.dims[3], y.dims[1], y.dims[2]},
        dtype_(problem.dtype),
        convolution_(cudnn, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR),
        operation_(cudnn, pass.operation),
        graph_(cudnn, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    const std::int64_t* e = problem.extents;
    x_ = tensor(cudnn, kX, problem.dtype, e[Conv2d::N], e[Conv2d::C], e[Conv2d::H], e[Conv2d::W]);
    w_ = tensor(cudnn, kW, problem.dtype, e[Conv2d::K], e[Conv2d::C] / e[Conv2d::groups], e[Conv2d::R], e[Conv2d::S]);
    const bool fused = has_epilogue(problem);
    DescriptorPtr product = fused ? between() : whole(kY);
    const std::vector<std::int64_t> padding = {e[Conv2d::pad_h], e[Conv2d::pad_w]};
    convolution_.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, std::vector{CUDNN_DATA_FLOAT})
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, std::vector{CUDNN_CROSS_CORRELATION})
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::vector<std::int64_t>{2})
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, padding)
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, padding)
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64,
             std::vector{e[Conv2d::dilation_h], e[Conv2d::dilation_w]})
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64,
             std::vector{e[Conv2d::stride_h], e[Conv2d::stride_w]})
        .finalize();
    operation_.set(pass.convolution, convolution_)
        .set(pass.x, *x_)
        .set(pass.w, *w_)
        .set(pass.y, *product)
        .set(pass.alpha, CUDNN_TYPE_FLOAT, std::vector{1.0F})
        .set(pass.beta, CUDNN_TYPE_FLOAT, std::vector{0.0F})
        .finalize();
    tensors_.push_back(std::move(product));
    if (fused) add_epilogue(problem);
    std::vector<cudnnBackendDescriptor_t> operations = {operation_.get()};
    for (const DescriptorPtr& pointwise : pointwise_) operations.push_back(pointwise->get());
    graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, std::vector{cudnn.handle})
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations)
        .finalize();
  }
  const Descriptor& graph() const { return graph_; }
  const std::vector<Bound>& bound() const { return bound_; }

 private:
  /// A tensor of y's shape that lies in memory.
  DescriptorPtr whole(std::int64_t id) const {
    return tensor(cudnn_, id, dtype_, y_dims_[0], y_dims_[1], y_dims_[2], y_dims_[3]);
  }
  /// One that is the result of an operation and the next one's input.
  DescriptorPtr between() {
    return tensor(cudnn_, next_++, DType::f32, y_dims_[0], y_dims_[1], y_dims_[2], y_dims_[3], true);
  }

  void add_epilogue(const Problem& problem) {
    const std::int64_t* e = problem.extents;
    const DType vectors = e[Conv2d::has_scale] != 0 ? DType::f32 : dtype_;  // as our operands are (kernels/ops.h)
    const auto channels = [&](std::int64_t id) { return tensor(cudnn_, id, vectors, 1, y_dims_[1], 1, 1); };
    struct Step {
      cudnnPointwiseMode_t mode;
      DescriptorPtr other;  ///< the second operand, where the mode has one
    };
    std::vector<Step> steps;
    const auto add = [&](int extent, cudnnPointwiseMode_t mode, std::int64_t id, const char* name, bool by_channel) {
      if (e[extent] == 0) return;
      steps.push_back({mode, by_channel ? channels(id) : whole(id)});
      bound_.push_back({id, name});
    };
    add(Conv2d::has_scale, CUDNN_POINTWISE_MUL, kScale, "scale", true);
    add(Conv2d::has_bias, CUDNN_POINTWISE_ADD, kBias, "bias", true);
    add(Conv2d::has_residual, CUDNN_POINTWISE_ADD, kResidual, "residual", false);
    if (e[Conv2d::relu] != 0) steps.push_back({CUDNN_POINTWISE_RELU_FWD, nullptr});
    for (std::size_t i = 0; i < steps.size(); ++i) {
      auto how = std::make_unique<Descriptor>(cudnn_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
      how->set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, std::vector{steps[i].mode})
          .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, std::vector{CUDNN_DATA_FLOAT});
      const double ceiling = problem.scalars[Conv2d::ceiling];
      if (steps[i].mode == CUDNN_POINTWISE_RELU_FWD && ceiling > 0)
        how->set(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, std::vector{ceiling});
      how->finalize();
      DescriptorPtr result = i + 1 < steps.size() ? between() : whole(kY);
      auto operation = std::make_unique<Descriptor>(cudnn_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
      operation->set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, *how)
          .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *tensors_.back())
          .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *result);
      if (steps[i].other != nullptr) operation->set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *steps[i].other);
      operation->finalize();
      pointwise_.push_back(std::move(operation));
      others_.push_back(std::move(how));
      if (steps[i].other != nullptr) others_.push_back(std::move(steps[i].other));
      tensors_.push_back(std::move(result));
    }
  }

  const Cudnn& cudnn_;
  std::vector<Bound> bound_;
  std::array<std::int64_t, 4> y_dims_;  ///< n, c, h, w
  DType dtype_;
  std::int64_t next_ = kFirstBetween;
  DescriptorPtr x_, w_;
  std::vector<DescriptorPtr> tensors_;  ///< the results, one an operation
  std::vector<DescriptorPtr> others_;   ///< what the pointwise operations refer to besides
  std::vector<DescriptorPtr> pointwise_;
  Descriptor convolution_, operation_, graph_;
};

/// The engine configurations that the heuristics of one mode propose, best first by their guess.
std::vector<DescriptorPtr> proposals(const Cudnn& cudnn, const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  constexpr std::int64_t kMost = 64;
  Descriptor heuristics(cudnn, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, std::vector{mode});
  if (heuristics.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
  std::vector<DescriptorPtr> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < kMost; ++i) {
    found.push_back(std::make_unique<Descriptor>(cudnn, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    raw.push_back(found.back()->get());
  }
  std::int64_t count = 0;
  cudnn.check(cudnn.f.cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, kMost, &count, raw.data()),
              "the heuristics' results");
  found.resize(static_cast<std::size_t>(std::min(count, kMost)));
  return found;
}

struct Engine {
  std::int64_t index = -1;
  bool tensor_cores = false;  ///< for float32 that is TF32
};

Engine engine_of(const Cudnn& cudnn, const Descriptor& configuration) {
  const Descriptor engine(cudnn, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.get();
  std::int64_t count = 0;
  cudnn.check(cudnn.f.cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw),
              "a configuration's engine");
  const auto notes = engine.values<cudnnBackendNumericalNote_t>(
      CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  const auto index = engine.values<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1);
  return {index.empty() ? -1 : index[0], std::ranges::count(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) > 0};
}

/// A plan with its workspace, and the variant pack that points it at operands.
class Plan {
 public:
  /// Null where cuDNN does not support this configuration after all.
  static std::shared_ptr<Plan> make(const Cudnn& cudnn, const Place& place, DescriptorPtr configuration) {
    auto plan = std::make_unique<Descriptor>(cudnn, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan->set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, std::vector{cudnn.handle})
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, *configuration);
    if (plan->try_finalize() != CUDNN_STATUS_SUCCESS) return nullptr;
    const auto bytes = plan->values<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1);
    std::size_t free_bytes = 0, total_bytes = 0;
    place.target->memory(place.index, &free_bytes, &total_bytes);
    if (bytes.empty() || static_cast<std::size_t>(bytes[0]) > free_bytes / 2) return nullptr;
    return std::shared_ptr<Plan>(
        new Plan(cudnn, place, std::move(configuration), std::move(plan), static_cast<std::size_t>(bytes[0])));
  }

  cudnnStatus_t run(int set, const Call& call, const std::vector<Bound>& bound) {
    DescriptorPtr& pack = packs_[set];
    if (pack == nullptr) {
      std::vector<void*> pointers;
      std::vector<std::int64_t> ids;
      for (const Bound& one : bound) {
        pointers.push_back(call.find(set, one.name));
        ids.push_back(one.id);
      }
      pack = std::make_unique<Descriptor>(cudnn_, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
      pack->set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers)
          .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids)
          .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, std::vector<void*>{workspace_.data()})
          .finalize();
    }
    return cudnn_.f.cudnnBackendExecute(cudnn_.handle, plan_->get(), pack->get());
  }
  std::size_t workspace_bytes() const { return workspace_.bytes(); }

 private:
  Plan(const Cudnn& cudnn, const Place& place, DescriptorPtr configuration, DescriptorPtr plan, std::size_t bytes)
      : cudnn_(cudnn), configuration_(std::move(configuration)), plan_(std::move(plan)), workspace_(place, bytes) {}

  const Cudnn& cudnn_;
  DescriptorPtr configuration_, plan_;
  Memory workspace_;
  std::map<int, DescriptorPtr> packs_;  ///< by set
};

}  // namespace

std::optional<PeerCall> cudnn_convolution(const Cudnn& cudnn, const std::string& function, const Call& call,
                                          Clock& clock, double search_seconds) {
  const PassAttributes* pass = function == "convolution_forward"           ? &kForward
                               : function == "convolution_backward_data"   ? &kBackwardData
                               : function == "convolution_backward_filter" ? &kBackwardFilter
                                                                           : nullptr;
  if (pass == nullptr) return {};
  // Of a gradient that is added to another part of it cuDNN's form works in place, on another call's result.
  if (pass != &kForward && has_epilogue(call.problem())) return {};
  const Signature& signature = call.signature();
  const Operand* y = nullptr;
  for (int i = 0; i < signature.count; ++i)
    if (std::string_view(signature.operands[i].name) == pass->y_name) y = &signature.operands[i];
  if (y == nullptr) return {};
  const ConvolutionGraph graph(cudnn, *pass, call.problem(), *y);

  CudnnChoice choice(cudnn, clock);
  const int tf32 = find_extent(call.op(), "tf32");
  const bool exact = call.problem().dtype == DType::f32 && (tf32 < 0 || call.problem().extents[tf32] == 0);
  const auto start = std::chrono::steady_clock::now();
  bool cut_short = false;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK}) {
    for (DescriptorPtr& configuration : proposals(cudnn, graph.graph(), mode)) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      cut_short |= spent.count() > search_seconds;
      if (cut_short) break;
      const Engine engine = engine_of(cudnn, *configuration);
      if (exact && engine.tensor_cores) continue;
      const std::shared_ptr<Plan> plan = Plan::make(cudnn, call.place(), std::move(configuration));
      if (plan == nullptr) continue;
      choice.consider(fmt::format("engine {}, {} MiB of workspace", engine.index, plan->workspace_bytes() >> 20),
                      [plan, bound = graph.bound(), &call](int set) { return plan->run(set, call, bound); });
    }
  }
  if (!choice.any() && has_epilogue(call.problem())) return {};  // convolutions it has, but none fused with this
  PeerCall best = choice.best();
  best.cut_short = cut_short;
  return best;
}

}  // namespace weft::bench
