#include "nn/batches.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft {
namespace {

LoaderOptions loader_options(const BatchesOptions& options) {
  LoaderOptions result;
  result.batch = options.batch;
  result.shuffle = options.training;
  result.threads = options.threads;
  result.ahead = options.ahead;
  result.seed = options.seed;
  // A step must keep its size; what is measured must not count a stand-in.
  result.on_failure = options.training ? OnFailure::replace : OnFailure::skip;
  return result;
}

/// (rows, item...).
Shape with_rows(std::int64_t rows, const Shape& item) {
  std::vector<std::int64_t> extents = item.extents();
  extents.insert(extents.begin(), rows);
  return Shape(std::move(extents));
}

/// Room for `rows` items; memory of the same size is used again. Zeros, so that rows that mean nothing are at least
/// numbers.
Tensor& with_room(Tensor& tensor, std::int64_t rows, const Shape& item) {
  const Shape shape = with_rows(rows, item);
  if (tensor.empty() || tensor.shape() != shape) tensor = Tensor::zeros(shape);
  return tensor;
}

std::int64_t batches_of(std::int64_t size, const BatchesOptions& options) {
  const std::int64_t batches = (size + options.batch - 1) / options.batch;
  const bool lone = options.training && options.batch > 1 && size % options.batch == 1 && batches > 1;
  return lone ? batches - 1 : batches;
}

}  // namespace

Batches::~Batches() = default;

PictureBatches::PictureBatches(std::shared_ptr<const Dataset> dataset, const BatchesOptions& options)
    : item_({dataset->shape().height, dataset->shape().width, dataset->shape().channels}),
      options_(options),
      loader_(dataset, loader_options(options)),
      batches_(batches_of(dataset->size(), options)) {}

void PictureBatches::start(std::int64_t epoch, std::int64_t first) {
  loader_.start(epoch, first);
}

bool PictureBatches::next(Fed& fed) {
  if (!loader_.next(batch_) || batch_.number >= batches_) return false;
  fed.x = batch_.images;
  if (!options_.training && batch_.count() < options_.batch) {
    fed.x = with_room(padded_, options_.batch, item_);
    std::memcpy(fed.x.data(), batch_.images.data(), batch_.images.bytes());
  }
  fed.labels = batch_.labels;
  fed.indices = batch_.indices;
  fed.number = batch_.number;
  return true;
}

FeatureBatches::FeatureBatches(const FeatureCache& cache, const BatchesOptions& options)
    : cache_(cache), options_(options), batches_(batches_of(cache.size(), options)) {}

void FeatureBatches::start(std::int64_t epoch, std::int64_t first) {
  order_ = Loader::order(cache_.size(), options_.training, options_.seed, epoch);
  next_ = first;
}

bool FeatureBatches::next(Fed& fed) {
  if (next_ >= batches_) return false;
  const std::int64_t first = next_++ * options_.batch, last = std::min(first + options_.batch, cache_.size());
  fed.x = with_room(rows_, options_.training ? last - first : options_.batch, cache_.shape());
  fed.labels = Tensor({last - first}, DType::i32);
  fed.indices.clear();
  fed.number = next_ - 1;
  float* to = fed.x.values<float>().data();
  std::int32_t* label = fed.labels.values<std::int32_t>().data();
  for (std::int64_t i = first; i < last; ++i, to += cache_.shape().elements()) {
    const std::int64_t row = order_[static_cast<std::size_t>(i)];
    cache_.read(row, to);
    *label++ = cache_.label(row);
    fed.indices.push_back(cache_.index(row));
  }
  return true;
}

}  // namespace weft
