#include "tests/tools/harness_report.h"

#include <stdexcept>

#include "tests/tools/harness.h"

namespace weft::tests {
namespace {

std::string said_by(const std::vector<std::string>& arguments) {
  const ProcessResult result = dogs_vs_cats(arguments);
  if (result.status != 0) throw std::runtime_error(arguments[0] + " failed: " + result.err);
  return result.out;
}

}  // namespace

const Reported& reported() {
  static const TemporaryFolder folder;
  static const Reported once = [] {
    const std::string run = (folder / "run").string();
    said_by({"train", drawn_sample().string(), "--out", run, "--arch", "lenet", "--size", "32", "--batch", "8",
             "--epochs", "1", "--device", "cpu"});
    const std::string searched = said_by({"lr-find", drawn_sample().string(), "--out", run, "--arch", "lenet", "--size",
                                          "32", "--batch", "8", "--steps", "40", "--device", "cpu"});
    if (said_by({"report", run, "--device", "cpu"}).find("report.html") == std::string::npos)
      throw std::runtime_error("report does not say what it wrote");
    return Reported{run, read_all(folder / "run/report.html"), searched};
  }();
  return once;
}

std::vector<std::string> data_uris(const std::string& page) {
  std::vector<std::string> uris;
  for (std::size_t at = page.find("src=\"data:image/"); at != std::string::npos; at = page.find("src=\"data:", at + 1))
    uris.push_back(page.substr(at + 5, page.find('"', at + 5) - at - 5));
  return uris;
}

}  // namespace weft::tests
