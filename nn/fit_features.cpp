// The part of fit() that computes a frozen trunk's features, once.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "nn/fit.h"

namespace weft {
namespace {

/// Pictures that a trunk takes at once: features do not depend on --batch, and 32 fill two cores' convolutions while
/// their activations still fit near the cores. A GPU wants more.
std::int64_t trunk_batch(const Device& device) {
  return device.name().starts_with("cuda") ? 128 : 32;
}

}  // namespace

bool Fit::compute_features() {
  if (s_.train_features) return true;  // of a former fit()
  const ItemShape shape = s_.train->shape();
  const std::int64_t batch = std::min(trunk_batch(*s_.device), std::max(s_.train->size(), s_.valid->size()));
  const auto setup = [this] {
    return Executors::Setup{
        .purpose = "trunk",
        .graph = [&s = s_](std::int64_t n) { return s.model.trunk_graph(s.graph_options(n, false)); },
        .compile = s_.compile_options(),
        .group_of = {}};
  };
  Executors trunk(s_.device, setup(), s_.plans, batch);
  trunk.store()->load(s_.model.state());
  const Graph& graph = trunk.at(batch).graph();
  std::vector<std::int64_t> row = graph.value(graph.find("features")).shape.extents();
  row.erase(row.begin());
  const auto identity = [&](const Dataset& data) {
    return fmt::format("{} {} {}x{} {} {}", trunk_, s_.model.arch(), shape.height, shape.width, data.size(),
                       s_.device->name());
  };
  const std::size_t budget = s_.options.feature_memory;
  s_.train_features = std::make_unique<FeatureCache>("train", Shape(row), s_.train->size(), budget, s_.options.run,
                                                     identity(*s_.train));
  const std::size_t taken = std::min(budget, s_.train_features->bytes_expected());
  s_.valid_features = std::make_unique<FeatureCache>("valid", Shape(row), s_.valid->size(), budget - taken,
                                                     s_.options.run, identity(*s_.valid));
  for (FeatureCache* cache : {s_.train_features.get(), s_.valid_features.get()}) {
    if (s_.options.resume) {
      cache->restore();
    } else {
      cache->discard();  // another training's
    }
  }
  const std::int64_t total = s_.train->size() + s_.valid->size();
  return compute_features_of(trunk, *s_.train, *s_.train_features, 0, total) &&
         compute_features_of(trunk, *s_.valid, *s_.valid_features, s_.train->size(), total);
}

bool Fit::compute_features_of(Executors& trunk, const Dataset& data, FeatureCache& cache, std::int64_t before,
                              std::int64_t total) {
  const std::int64_t batch = std::min(trunk_batch(*s_.device), std::max(s_.train->size(), s_.valid->size()));
  PictureBatches batches(borrowed(data), {.batch = batch, .threads = s_.options.loader_threads});
  const auto report = [&](std::int64_t done) {
    for (const auto& callback : s_.callbacks) callback->on_features(before + std::min(done, data.size()), total);
  };
  report(cache.batches() * batch);
  if (cache.batches() < batches.batches()) batches.start(0, cache.batches());
  Fed fed;
  while (cache.batches() < batches.batches()) {
    if (Learner::stop_requested()) return false;
    if (!batches.next(fed)) break;
    Executor& executor = trunk.at(batch);
    executor.set_input("input", fed.x);
    executor.run();
    const Tensor features = executor.output("features");
    cache.append(fed.number, features.values<float>().data(), fed.labels.values<std::int32_t>(), fed.indices);
    report((fed.number + 1) * batch);
  }
  return true;
}

}  // namespace weft
