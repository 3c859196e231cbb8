// Images a second from files to normalised float batches: decode, random resized crop, flip, to float, normalise,
// batch; the work of torchvision's ImageFolder and PyTorch's DataLoader.
//
//   loader DATA/train [--size 224] [--batch 64] [--workers 2] [--plain] [--fast]

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <thread>

#include "data/image_folder.h"
#include "data/loader.h"
#include "kernels/error.h"
#include "tools/command_line.h"

using namespace weft;

namespace {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

// The mean and the mean square of a batch's values: looked at before and after timing, so that what is timed is right.
std::pair<double, double> moments(const Batch& batch) {
  double sum = 0, square = 0;
  auto values = batch.images.values<float>();
  for (float v : values) {
    sum += v;
    square += double(v) * v;
  }
  return {sum / double(values.size()), square / double(values.size())};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Images a second from files to normalised float batches.", "loader");
  std::string folder;
  int size = 224, batch_size = 64, workers = 2;
  bool plain = false, fast = false;
  app.add_option("data", folder, "A folder of class folders")->required();
  app.add_option("--size", size, "Side of the square, in pixels")->check(cli::number_above(0))->capture_default_str();
  app.add_option("--batch", batch_size, "Pictures a batch")->check(cli::number_above(0))->capture_default_str();
  app.add_option("--workers", workers, "Decoding threads")->check(cli::number_above(0))->capture_default_str();
  app.add_flag("--plain", plain, "Resize and centre crop instead of the random crop");
  app.add_flag("--fast", fast, "Decode large JPEGs at a fraction of their size");
  cli::add_version(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli::answer(app, error);
  }
  try {
    ImageFolderOptions options{.size = size, .valid_fraction = 1, .fast_decode = fast};
    ImageFolder found(folder, options);
    Transforms transform = plain ? validation_transform(size) : training_transform(size);
    auto pictures =
        std::make_shared<PictureList>(found.valid_samples(), size, transform, imagenet_normalization(), !plain, fast);
    Loader loader(pictures, {.batch = batch_size, .shuffle = true, .threads = workers});
    fmt::print("weft, {} x {}\n", std::thread::hardware_concurrency(), processor());
    double rate = 0;
    std::pair<double, double> first, last;
    for (int pass = 0; pass < 2; ++pass) {  // a warm-up, then the measured one
      auto began = std::chrono::steady_clock::now();
      int64_t images = 0;
      Batch batch;
      for (loader.start(0); loader.next(batch);) {
        if (images == 0) (pass == 0 ? first : last) = moments(batch);
        images += batch.count();
      }
      rate = double(images) / std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    }
    if (first != last || !(first.second > 0.1 && first.second < 10)) {
      fail(fmt::format("the first batch has mean square {} before and {} after", first.second, last.second));
    }
    fmt::print("{} {}px, {} workers: {:.1f} img/s\n", plain ? "plain" : "random crop", size, workers, rate);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "loader: {}\n", error.what());
    return 1;
  }
}
