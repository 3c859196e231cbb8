// The part of fit() that computes a frozen trunk's features, once.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/version.h"
#include "kernels/error.h"
#include "nn/feature_store.h"
#include "nn/fit.h"

namespace weft {
namespace {

/// Pictures that a trunk takes at once. Features do not depend on --batch, and what a layer does to its filters at each
/// run (folding batch norm, Winograd's transform) is then shared by many; beyond 128 little is left to share, and
/// memory grows. Even parts leave the least of the last batch empty.
std::int64_t trunk_batch(std::int64_t pictures) {
  constexpr std::int64_t kMost = 128;
  const std::int64_t batches = (pictures + kMost - 1) / kMost;
  return (pictures + batches - 1) / batches;
}

}  // namespace

bool Fit::compute_features() {
  if (s_.train_features && s_.features_of == trunk_) return true;  // of a former fit()
  s_.features_of = trunk_;
  const ItemShape shape = s_.train->shape();
  constexpr std::int64_t kFewest = 8;
  std::int64_t batch = trunk_batch(s_.train->size());
  const auto setup = [this] {
    return Executors::Setup{
        .purpose = "trunk",
        .graph = [&s = s_](std::int64_t n) { return s.model.trunk_graph(s.graph_options(n, false)); },
        .compile = s_.compile_options(),
        .group_of = {}};
  };
  std::unique_ptr<Executors> trunk;
  while (!trunk) {
    try {
      trunk = std::make_unique<Executors>(s_.device, setup(), s_.plans, batch);
    } catch (const Error&) {
      // Where memory is short half as many may fit; whatever else it is comes again.
      if (batch <= kFewest) throw;
      batch /= 2;
    }
  }
  trunk->store()->load(s_.model.state());
  const Graph& graph = trunk->at(batch).graph();
  std::vector<std::int64_t> row = graph.value(graph.find("features")).shape.extents();
  row.erase(row.begin());
  const auto identity = [&](const Dataset& data) {
    return fmt::format("{} {} {}x{} {} {} {}", trunk_, s_.model.arch(), shape.height, shape.width, data.size(),
                       s_.device->name(), batch);
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
  const FeatureStore store(s_.options.feature_cache, features_identity(*trunk, batch));
  if (store.take(*s_.train_features, *s_.valid_features)) {
    training_->note(fmt::format("the trunk's features are those kept in {}", store.path().string()));
    return true;
  }
  say_memory(fmt::format("the frozen trunk, {} pictures at once", batch), trunk->at(batch));
  const bool whole =
      compute_features_of(trunk->at(batch), batch, *s_.train, *s_.train_features, 0, total) &&
      compute_features_of(trunk->at(batch), batch, *s_.valid, *s_.valid_features, s_.train->size(), total);
  if (whole) store.keep(*s_.train_features, *s_.valid_features);
  return whole;
}

/// All that the features' bits depend on; empty where a data set cannot tell.
std::string Fit::features_identity(Executors& trunk, std::int64_t batch) const {
  const std::string train = s_.train->identity(), valid = s_.valid->identity();
  if (train.empty() || valid.empty()) return {};
  // The plan names instruction set, threads and library beside what each layer chose.
  return fmt::format("weft {}; trunk {} {}; train {}; valid {}; {} in batches of {}, {}; {}", version(), trunk_,
                     s_.model.arch(), train, valid, s_.device->name(), batch,
                     s_.options.math == Math::fast ? "fast" : "strict", trunk.at(batch).program().plan);
}

bool Fit::compute_features_of(Executor& trunk, std::int64_t batch, const Dataset& data, FeatureCache& cache,
                              std::int64_t before, std::int64_t total) {
  PictureBatches batches(borrowed(data),
                         {.batch = batch, .threads = s_.options.loader_threads, .ahead = s_.loader_ahead()});
  const auto report = [&](std::int64_t done) {
    for (const auto& callback : s_.callbacks) callback->on_features(before + std::min(done, data.size()), total);
  };
  report(cache.batches() * batch);
  if (cache.batches() < batches.batches()) batches.start(0, cache.batches());
  Fed fed;
  while (cache.batches() < batches.batches()) {
    if (Learner::stop_requested()) return false;
    if (!batches.next(fed)) break;
    trunk.set_input("input", fed.x);
    trunk.run();
    const Tensor features = trunk.output("features");
    cache.append(fed.number, features.values<float>().data(), fed.labels.values<std::int32_t>(), fed.indices);
    report((fed.number + 1) * batch);
  }
  return true;
}

}  // namespace weft
