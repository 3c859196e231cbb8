#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/error.h"

namespace weft {

namespace {

constexpr int kMostStandIns = 100;  // unreadable items in a row before giving up
constexpr int kMostWarnings = 10;

// A batch in work: `remaining` items are not written yet.
struct Slot {
  Tensor images, labels;
  std::vector<int64_t> indices;       // -1 where the item was skipped
  std::vector<std::string> failures;  // by position; empty where it was read
  std::exception_ptr error;           // the first by position
  int64_t error_position = 0;
  int64_t number = -1;
  int64_t remaining = 0;
};

// A tensor with the first `count` rows of another.
Tensor first_rows(const Tensor& tensor, int64_t count) {
  std::vector<int64_t> sizes = tensor.shape().extents();
  int64_t row_bytes = int64_t(tensor.bytes()) / sizes[0];
  sizes[0] = count;
  Tensor out(Shape(std::move(sizes)), tensor.dtype());
  std::memcpy(out.data(), tensor.data(), size_t(row_bytes * count));
  return out;
}

// Closes the gaps that skipped items left.
void squeeze(Slot& slot, int64_t item_size) {
  int64_t kept = 0, count = int64_t(slot.indices.size());
  float* images = slot.images.values<float>().data();
  auto labels = slot.labels.values<int32_t>();
  for (int64_t i = 0; i < count; ++i) {
    if (slot.indices[size_t(i)] < 0) continue;
    if (i != kept) {
      std::memcpy(images + kept * item_size, images + i * item_size, size_t(item_size) * sizeof(float));
      labels[size_t(kept)] = labels[size_t(i)];
      slot.indices[size_t(kept)] = slot.indices[size_t(i)];
    }
    ++kept;
  }
  if (kept == count) return;
  slot.indices.resize(size_t(kept));
  if (kept == 0) return;
  slot.images = first_rows(slot.images, kept);
  slot.labels = first_rows(slot.labels, kept);
}

}  // namespace

struct Loader::State {
  std::shared_ptr<const Dataset> dataset;
  LoaderOptions options;
  int64_t batches = 0;

  std::mutex mutex;
  std::condition_variable work_wanted, batch_done, idle;
  std::vector<std::thread> threads;
  bool stopping = false;
  std::atomic<bool> giving_up{false};  // the epoch under way is abandoned
  bool waiting = false;                // next() is waiting for its batch
  int64_t in_work = 0;                 // threads that hold items

  int64_t epoch = 0;
  std::vector<int64_t> order;
  int64_t next_item = 0, end_item = 0;  // positions in `order` not handed out yet
  int64_t current = 0;                  // the batch that next() gives next
  std::vector<Slot> slots;

  double waited = 0;
  int64_t failed = 0;

  int64_t batch_begin(int64_t number) const { return number * options.batch; }
  int64_t batch_end(int64_t number) const { return std::min((number + 1) * options.batch, int64_t(order.size())); }
  Slot& slot_of(int64_t number) { return slots[size_t(number % int64_t(slots.size()))]; }

  void prepare(Slot& slot, int64_t number) {
    if (number >= batches) return;
    int64_t count = batch_end(number) - batch_begin(number);
    ItemShape item = dataset->shape();
    Shape shape({count, item.height, item.width, item.channels});
    if (slot.images.empty() || !(slot.images.shape() == shape)) slot.images = Tensor(shape);
    if (slot.labels.empty() || !(slot.labels.shape() == Shape({count})))
      slot.labels = Tensor(Shape({count}), DType::i32);
    slot.indices.assign(size_t(count), -1);
    slot.failures.assign(size_t(count), "");
    slot.error = nullptr;
    slot.number = number;
    slot.remaining = count;
  }

  void work();
  void load(Slot& slot, int64_t position);
  void take(int64_t index, int64_t drawn_for, Slot& slot, int64_t position);
  void abandon(std::unique_lock<std::mutex>& lock);
  void report(Slot& slot);
};

// Loads item `index` into a place of the batch, with the random numbers of item `drawn_for`.
void Loader::State::take(int64_t index, int64_t drawn_for, Slot& slot, int64_t position) {
  Philox random = item_random(options.seed, epoch, drawn_for);
  int64_t item_size = dataset->shape().size();
  dataset->load(index, random, slot.images.values<float>().data() + position * item_size);
  slot.labels.values<int32_t>()[size_t(position)] = dataset->label(index);
  slot.indices[size_t(position)] = index;
}

void Loader::State::load(Slot& slot, int64_t position) {
  int64_t index = order[size_t(batch_begin(slot.number) + position)];
  try {
    take(index, index, slot, position);
    return;
  } catch (const Error& error) {
    slot.failures[size_t(position)] = error.what();
    if (options.on_failure == OnFailure::raise) throw;
    if (options.on_failure == OnFailure::skip) return;
  }
  int label = dataset->label(index), tries = 0;
  for (int64_t other = (index + 1) % dataset->size(); other != index; other = (other + 1) % dataset->size()) {
    if (dataset->label(other) != label) continue;
    if (++tries > kMostStandIns) break;
    try {
      take(other, index, slot, position);
      return;
    } catch (const Error&) {
      // Its own turn in the epoch reports it.
    }
  }
  fail(fmt::format("{}; and nothing of its class could stand in: {} tried", slot.failures[size_t(position)], tries));
}

void Loader::State::work() {
  std::unique_lock lock(mutex);
  while (true) {
    auto may_work = [&] {
      return next_item < end_item && next_item / options.batch < current + int64_t(slots.size()) &&
             (waiting || options.ahead > 0);
    };
    work_wanted.wait(lock, [&] { return stopping || may_work(); });
    if (stopping) return;
    // A few items at a time, so that the lock costs little beside small ones, and a batch is still shared by all.
    int64_t number = next_item / options.batch, begin = next_item;
    int64_t most = std::max<int64_t>(1, options.batch / (4 * int64_t(threads.size())));
    int64_t end = std::min({begin + std::min<int64_t>(most, 16), batch_end(number), end_item});
    next_item = end;
    ++in_work;
    Slot& slot = slot_of(number);
    lock.unlock();
    std::exception_ptr error;
    int64_t position = begin - batch_begin(number);
    for (int64_t item = begin; item < end && !giving_up; ++item, ++position) {
      try {
        load(slot, position);
      } catch (...) {
        error = std::current_exception();
        break;
      }
    }
    lock.lock();
    if (error && (!slot.error || position < slot.error_position)) {
      slot.error = error;
      slot.error_position = position;
    }
    slot.remaining -= end - begin;
    if (slot.remaining == 0) batch_done.notify_one();
    if (--in_work == 0) idle.notify_one();
  }
}

// Hands nothing out any more and waits for the threads to let go of the slots.
void Loader::State::abandon(std::unique_lock<std::mutex>& lock) {
  giving_up = true;
  next_item = end_item;
  idle.wait(lock, [&] { return in_work == 0; });
  giving_up = false;
}

void Loader::State::report(Slot& slot) {
  for (const std::string& failure : slot.failures) {
    if (failure.empty()) continue;
    if (++failed > kMostWarnings) continue;
    std::string line =
        fmt::format("warning: {}; {}", failure,
                    options.on_failure == OnFailure::skip ? "left out" : "another of its class stands in");
    if (failed == kMostWarnings) line += " (further ones are counted, not named)";
    if (options.warn) {
      options.warn(line);
    } else {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
  }
}

Loader::Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options) : state_(std::make_unique<State>()) {
  State& state = *state_;
  WEFT_CHECK(dataset, "a loader has a data set");
  if (dataset->size() < 1) fail("the data set is empty: there is nothing to load");
  if (options.batch < 1) fail(fmt::format("a batch of {} items; at least 1 is needed", options.batch));
  state.dataset = std::move(dataset);
  state.options = std::move(options);
  int64_t size = state.dataset->size(), batch = state.options.batch;
  state.batches = state.options.drop_last ? size / batch : (size + batch - 1) / batch;
  state.slots.resize(size_t(std::max(1, state.options.ahead)));
  int threads = state.options.threads > 0 ? state.options.threads : int(std::thread::hardware_concurrency());
  std::lock_guard lock(state.mutex);  // the threads read how many they are
  for (int i = 0; i < std::max(1, threads); ++i) state.threads.emplace_back([&state] { state.work(); });
}

Loader::~Loader() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->giving_up = true;
  }
  state_->work_wanted.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

int64_t Loader::batches() const {
  return state_->batches;
}

void Loader::start(int64_t epoch, int64_t first) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  state.abandon(lock);
  state.epoch = epoch;
  state.order = order(state.dataset->size(), state.options.shuffle, state.options.seed, epoch);
  state.current = std::min(first, state.batches);
  state.next_item = state.batch_begin(state.current);
  state.end_item = std::max(state.next_item, state.batches > 0 ? state.batch_end(state.batches - 1) : 0);
  for (size_t i = 0; i < state.slots.size(); ++i) {
    int64_t number = state.current + int64_t(i);
    state.prepare(state.slot_of(number), number);
  }
  lock.unlock();
  state.work_wanted.notify_all();
}

bool Loader::next(Batch& batch) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  while (!state.order.empty() && state.current < state.batches) {
    Slot& slot = state.slot_of(state.current);
    auto began = std::chrono::steady_clock::now();
    state.waiting = true;
    if (state.options.ahead <= 0) state.work_wanted.notify_all();
    state.batch_done.wait(lock, [&] { return slot.remaining == 0; });
    state.waiting = false;
    state.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    if (slot.error) {
      state.abandon(lock);
      state.current = state.batches;
      std::rethrow_exception(std::exchange(slot.error, nullptr));
    }
    lock.unlock();  // a finished slot is nobody else's until `current` moves on
    state.report(slot);
    if (state.options.on_failure == OnFailure::skip) squeeze(slot, state.dataset->shape().size());
    bool any = !slot.indices.empty();
    if (any) {
      std::swap(batch.images, slot.images);
      std::swap(batch.labels, slot.labels);
      std::swap(batch.indices, slot.indices);
      batch.number = slot.number;
    }
    state.prepare(slot, state.current + int64_t(state.slots.size()));
    lock.lock();
    ++state.current;
    state.work_wanted.notify_all();
    if (any) return true;
  }
  return false;
}

double Loader::seconds_waited() const {
  return state_->waited;
}
int64_t Loader::failures() const {
  return state_->failed;
}
const Dataset& Loader::dataset() const {
  return *state_->dataset;
}

std::vector<int64_t> Loader::order(int64_t size, bool shuffle, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) order[size_t(i)] = i;
  if (!shuffle) return order;
  Philox random(seed, subsequence_of("data.order") + uint64_t(epoch));
  for (int64_t i = size - 1; i > 0; --i) std::swap(order[size_t(i)], order[random.below(uint32_t(i + 1))]);
  return order;
}

}  // namespace weft
