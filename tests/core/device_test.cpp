#include "core/device.h"

#include <doctest/doctest.h>

#include <cstring>
#include <set>

#include "core/plan_text.h"
#include "core/pool.h"
#include "core/text.h"
#include "kernels/error.h"

namespace weft::test {
namespace {

/// A device of `limit` bytes that counts what it is asked for; `released` is told what it gave back, beyond its end
/// too.
class CountingDevice final : public Device {
 public:
  explicit CountingDevice(std::size_t limit, bool throws = false, int* released = nullptr)
      : limit_(limit), throws_(throws), released_(released) {}
  ~CountingDevice() override { release_pool(); }

  std::string name() const override { return "counting"; }
  std::string describe() const override { return "a test's"; }
  std::size_t memory_available() const override { return limit_ - used + bytes_kept(); }
  void copy_in(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_out(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void fill_zero(void* data, std::size_t bytes) override { std::memset(data, 0, bytes); }
  void synchronize() override {}
  Program compile(const Graph&, const CompileOptions&) override { return {}; }
  void reorder(const Shape&, DType, const void*, const LayoutPtr&, void*, const LayoutPtr&) override {}
  void sgd_step(const SgdArguments&) override {}

  std::size_t used = 0;
  int allocations = 0, releases = 0;

 protected:
  void* allocate_bytes(std::size_t bytes) override {
    if (used + bytes > limit_) {
      if (throws_) fail("nothing left");
      return nullptr;
    }
    used += bytes;
    ++allocations;
    void* block = std::aligned_alloc(512, (bytes + 511) / 512 * 512);
    sizes_[block] = bytes;
    return block;
  }
  void release_bytes(void* data) noexcept override {
    used -= sizes_.at(data);
    sizes_.erase(data);
    ++releases;
    if (released_ != nullptr) ++*released_;
    std::free(data);
  }

 private:
  std::size_t limit_;
  bool throws_;
  int* released_;
  std::map<void*, std::size_t> sizes_;
};

TEST_CASE("pool: a block given back is handed out again") {
  CountingDevice device(std::size_t{1} << 30);
  void* first = nullptr;
  {
    const Buffer buffer = device.allocate(1000);
    first = buffer.data();
    CHECK(buffer.bytes == 1000);
    CHECK(device.bytes_in_use() == 1024);
  }
  CHECK(device.bytes_in_use() == 0);
  const Buffer again = device.allocate(900);
  CHECK(again.data() == first);
  const Buffer other = device.allocate(900);
  CHECK(other.data() != first);
  CHECK(device.allocations == 2);
  CHECK(device.allocate(0).data() == nullptr);
  // A much larger block is not wasted on a small request.
  { const Buffer large = device.allocate(100000); }
  const Buffer small = device.allocate(10);
  CHECK(device.allocations == 4);
}

TEST_CASE("pool: high-water mark") {
  CountingDevice device(std::size_t{1} << 30);
  const Buffer kept = device.allocate(512);
  { const Buffer a = device.allocate(4096), b = device.allocate(8192); }
  CHECK(device.bytes_in_use() == 512);
  CHECK(device.high_water_mark() == 512 + 4096 + 8192);
  device.reset_high_water_mark();
  CHECK(device.high_water_mark() == 512);
  { const Buffer a = device.allocate(2048); }
  CHECK(device.high_water_mark() == 512 + 2048);
}

TEST_CASE("pool: kept blocks go back before memory is short, and then need and have are said") {
  for (const bool throws : {false, true}) {
    CountingDevice device(10000, throws);
    { const Buffer a = device.allocate(4096), b = device.allocate(4096); }
    CHECK(device.used == 8192);
    const Buffer large = device.allocate(9000);  // fits only once the two are back
    CHECK(device.releases == 2);
    std::string message;
    try {
      (void)device.allocate(2000);
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(message.find("counting: out of memory: need 2.0 KiB, have 784 B, with 9.0 KiB in use already") == 0);
  }
}

TEST_CASE("pool: block sizes waste at most a sixteenth") {
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 33); bytes = bytes * 3 / 2 + 1) {
    const std::size_t size = Pool::block_size(bytes);
    CHECK(size >= bytes);
    CHECK(size % 512 == 0);
    CHECK(size - bytes <= std::max<std::size_t>(512, bytes / 16));
    CHECK(Pool::block_size(size) == size);
  }
}

TEST_CASE("pool: a buffer that outlives its device is never released") {
  Buffer left;
  void* block = nullptr;
  int released = 0;
  {
    CountingDevice device(1 << 20, false, &released);
    left = device.allocate(100);
    block = left.data();
    { const Buffer other = device.allocate(100); }
    CHECK(released == 0);  // kept for the next request
  }
  CHECK(released == 1);  // the other one
  REQUIRE(left.data() == block);
  std::memset(block, 1, 100);  // still there: AddressSanitizer would know
  left = {};
  CHECK(released == 1);  // there is no device that could be asked
  std::free(block);      // nobody else frees it
}

TEST_CASE("make_device: names and refusals") {
  CHECK(make_device("simt")->name() == "simt");
#if WEFT_WITH_CPU
  CHECK(make_device("auto") != nullptr);
#endif
  CHECK_THROWS_WITH_AS(make_device("gpu"), "there is no device \"gpu\": take auto, cpu, simt, cuda or cuda:N",
                       UsageError);
  CHECK_THROWS_AS(make_device("cuda:"), UsageError);
  CHECK_THROWS_AS(make_device("cuda:-1"), UsageError);
  CHECK_THROWS_AS(make_device("cuda:1x"), UsageError);
  try {
    (void)make_device("cuda:64");
    FAIL("64 GPUs?");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("cuda") == 0);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
  }
}

TEST_CASE("device: copies and zeros") {
  const std::shared_ptr<Device> device = make_device("simt");
  const Buffer buffer = device->allocate(16);
  const float in[4] = {1, 2, 3, 4};
  float out[4] = {};
  device->copy_in(buffer.data(), in, 16);
  device->copy_out(out, buffer.data(), 16);
  CHECK(std::memcmp(in, out, 16) == 0);
  device->fill_zero(buffer.data(), 8);
  device->copy_out(out, buffer.data(), 16);
  CHECK(out[1] == 0);
  CHECK(out[2] == 3);
  CHECK(device->memory_available() > (std::size_t{1} << 20));
}

TEST_CASE("plan text: there and back") {
  const Choices choices = {{"layer1.0.conv1/conv2d", "winograd"}, {"my layer/relu", "scalar"}};
  CHECK(plan_text(choices) == "layer1.0.conv1/conv2d winograd\nmy layer/relu scalar\n");
  CHECK(parse_plan(plan_text(choices)) == choices);
  CHECK(parse_plan("").empty());
  CHECK_THROWS_WITH_AS(parse_plan("nonsense\n"), "not a line of a plan: \"nonsense\"", Error);
}

TEST_CASE("text: numbers as people read them") {
  CHECK(bytes_text(512) == "512 B");
  CHECK(bytes_text(1536) == "1.5 KiB");
  CHECK(bytes_text(std::size_t{5} << 30) == "5.00 GiB");
  CHECK(count_text(11689512) == "11.69 M");
  CHECK(nearest_names("conv1.weigth", {"conv1.weight", "fc.bias"}, 3) == std::vector<std::string>{"conv1.weight"});
}

}  // namespace
}  // namespace weft::test
