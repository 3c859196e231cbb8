#include "kernels/simt/ptx/proxy_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/static_shared.h"

namespace weft::simt {

void ProxyView::start_block(const void* memory, std::size_t bytes, std::size_t threads) {
  memory_ = static_cast<const unsigned char*>(memory);
  bytes_ = bytes;
  threads_ = threads;
  view_.clear();
  writers_.clear();
  forget_marks();
}

void ProxyView::allocate() {
  if (view_.size() == bytes_) return;
  view_.resize(bytes_);
  fill_poison(view_.data(), bytes_);
}

unsigned char* ProxyView::data() {
  allocate();
  return view_.data();
}

void ProxyView::stored(unsigned thread, const void* address, const char* what, Site site) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory_), at = reinterpret_cast<std::uintptr_t>(address);
  if (at < begin || at - begin + 2 > bytes_) return;
  if (writers_.empty()) {
    writers_.assign(bytes_ / 2, 0);
    last_stores_.assign(threads_, {});
  }
  const std::size_t pair = (at - begin) / 2;
  marks_ += writers_[pair] == 0;
  writers_[pair] = static_cast<std::uint16_t>(thread + 1);
  last_stores_[thread] = {what, site};
  first_ = std::min(first_, pair);
  end_ = std::max(end_, pair + 1);
}

// All that is not marked as another thread's. Outside the marks' range that is everything.
void ProxyView::fence(unsigned thread) {
  allocate();
  if (bytes_ == 0) return;
  if (marks_ == 0) {
    std::memcpy(view_.data(), memory_, bytes_);
    return;
  }
  std::memcpy(view_.data(), memory_, first_ * 2);
  std::memcpy(view_.data() + end_ * 2, memory_ + end_ * 2, bytes_ - end_ * 2);
  const auto mine = static_cast<std::uint16_t>(thread + 1);
  std::size_t left = 0;
  for (std::size_t pair = first_; pair < end_; ++pair) {
    std::uint16_t& writer = writers_[pair];
    const bool shown = writer == 0 || writer == mine;
    std::uint16_t before, now;
    std::memcpy(&before, view_.data() + pair * 2, 2);
    std::memcpy(&now, memory_ + pair * 2, 2);
    if (!shown) now = before;
    std::memcpy(view_.data() + pair * 2, &now, 2);
    writer = shown ? 0 : writer;
    left += !shown;
  }
  marks_ = left;
  if (left == 0) forget_marks();
}

void ProxyView::overwritten(std::size_t offset, std::size_t bytes) {
  if (!marked(offset, bytes)) return;
  for (std::size_t pair = offset / 2; pair < std::min((offset + bytes + 1) / 2, writers_.size()); ++pair) {
    marks_ -= writers_[pair] != 0;
    writers_[pair] = 0;
  }
  if (marks_ == 0) forget_marks();
}

void ProxyView::require_fenced(std::size_t offset, std::size_t bytes) {
  allocate();
  if (marked(offset, bytes)) {
    for (std::size_t pair = offset / 2; pair < std::min((offset + bytes + 1) / 2, writers_.size()); ++pair) {
      if (writers_[pair] == 0) continue;
      const unsigned thread = writers_[pair] - 1u;
      const Store& store = last_stores_[thread];
      fail(
          fmt::format("it reads byte {} of the block's dynamic shared memory, which thread {} wrote by {} at {}:{} and "
                      "has not shown to the asynchronous proxy since (fence.proxy.async)",
                      pair * 2, thread, store.what, store.site.file, store.site.line));
    }
  }
  if (bytes == 0 || std::memcmp(memory_ + offset, view_.data() + offset, bytes) == 0) return;
  std::size_t at = offset;
  while (memory_[at] == view_[at]) ++at;
  fail(fmt::format(
      "it reads byte {} of the block's dynamic shared memory, which a thread wrote and no fence.proxy.async "
      "has shown to the asynchronous proxy since",
      at));
}

}  // namespace weft::simt
