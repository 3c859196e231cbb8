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
  s_.features_of.clear();                                          // until they are whole
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
  const std::string identity = features_identity(*trunk, batch);
  const std::size_t budget = s_.options.feature_memory;
  // First, since they may take their files with them.
  s_.train_features.reset();
  s_.valid_features.reset();
  s_.train_features =
      std::make_unique<FeatureCache>("train", Shape(row), s_.train->size(), budget, s_.options.run, identity);
  const std::size_t taken = std::min(budget, s_.train_features->bytes_expected());
  s_.valid_features =
      std::make_unique<FeatureCache>("valid", Shape(row), s_.valid->size(), budget - taken, s_.options.run, identity);
  for (FeatureCache* cache : {s_.train_features.get(), s_.valid_features.get()}) {
    if (s_.options.resume) cache->restore();
    if (cache->batches() == 0) cache->discard();  // another training's, or of other pictures
  }
  const std::int64_t total = s_.train->size() + s_.valid->size();
  const std::int64_t kept = s_.train_features->size() + s_.valid_features->size();
  const FeatureStore store(s_.options.feature_cache, identity);
  if (kept < total && store.take(*s_.train_features, *s_.valid_features)) {
    note(fmt::format("the trunk's features are those kept in {}", store.path().string()));
    s_.features_of = trunk_;
    return true;
  }
  if (kept > 0)
    note(kept == total ? fmt::format("kept features of {} pictures read", total)
                       : fmt::format("kept features of {} of {} pictures read", kept, total));
  say_memory(fmt::format("the frozen trunk, {} pictures at once", batch), trunk->at(batch));
  const bool whole =
      compute_features_of(trunk->at(batch), batch, *s_.train, *s_.train_features, 0, total) &&
      compute_features_of(trunk->at(batch), batch, *s_.valid, *s_.valid_features, s_.train->size(), total);
  if (!whole) return false;
  store.keep(*s_.train_features, *s_.valid_features);
  s_.features_of = trunk_;
  return true;
}

/// All that the features' bits depend on; empty where a data set cannot tell.
std::string Fit::features_identity(Executors& trunk, std::int64_t batch) const {
  const std::string train = s_.train->identity(), valid = s_.valid->identity();
  if (train.empty() || valid.empty()) return {};
  // The plan names instruction set, threads and library beside what each layer chose.
  return fmt::format("weft {}; trunk {} {}; train {}; valid {}; {} in batches of {}, {}; {}", version(), trunk_,
                     s_.model.arch(), train, valid, s_.device->name(), batch, name_of(s_.options.math),
                     trunk.at(batch).program().plan);
}

bool Fit::compute_features_of(Executor& trunk, std::int64_t batch, const Dataset& data, FeatureCache& cache,
                              std::int64_t before, std::int64_t total) {
  PictureBatches batches(borrowed(data),
                         {.batch = batch, .threads = s_.options.loader_threads, .ahead = s_.loader_ahead()});
  const auto report = [&](std::int64_t done) {
    for (const auto& callback : s_.callbacks) callback->on_features(before + std::min(done, data.size()), total);
  };
  if (cache.batches() >= batches.batches()) return true;  // kept ones
  report(cache.batches() * batch);
  batches.start(0, cache.batches());
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
