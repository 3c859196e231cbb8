// dogs_vs_cats graph: the Graphviz text of a network, read back as nodes and edges.

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "nn/model.h"
#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft::tests;

namespace {

/// What a picture says: labels of boxes by their names in the file, and who leads to whom.
struct Drawn {
  std::map<std::string, std::string> nodes;
  std::set<std::pair<std::string, std::string>> edges;

  int count(const std::string& op) const {
    return static_cast<int>(std::count_if(nodes.begin(), nodes.end(), [&](const auto& node) {
      return node.second == op || node.second.ends_with(": " + op);
    }));
  }
  bool has(const std::string& label) const {
    return std::any_of(nodes.begin(), nodes.end(), [&](const auto& node) { return node.second == label; });
  }
  /// Whether an edge leads from a box of the one label to one of the other.
  bool leads(const std::string& from, const std::string& to) const {
    return std::any_of(edges.begin(), edges.end(),
                       [&](const auto& edge) { return nodes.at(edge.first) == from && nodes.at(edge.second) == to; });
  }
};

Drawn read(const std::string& dot) {
  static const std::regex node(R"re( *(\w+) \[label="([^"]*)".*\];)re"), edge(R"re( *(\w+) -> (\w+) \[label=.*\];)re");
  CHECK(dot.starts_with("digraph weft {\n"));
  CHECK(dot.ends_with("}\n"));
  CHECK(std::count(dot.begin(), dot.end(), '{') == std::count(dot.begin(), dot.end(), '}'));
  Drawn drawn;
  std::istringstream text(dot);
  std::smatch found;
  for (std::string line; std::getline(text, line);) {
    if (std::regex_match(line, found, edge))
      drawn.edges.emplace(found[1], found[2]);
    else if (std::regex_match(line, found, node))
      CHECK(drawn.nodes.emplace(found[1], found[2]).second);
  }
  for (const auto& [from, to] : drawn.edges) {
    REQUIRE(drawn.nodes.contains(from));
    REQUIRE(drawn.nodes.contains(to));
  }
  return drawn;
}

Drawn drawn(std::vector<std::string> options) {
  options.insert(options.begin(), "graph");
  const auto result = dogs_vs_cats(options);
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  return read(result.out);
}

}  // namespace

TEST_CASE("graph: every node of a network and who reads whom") {
  const Drawn net = drawn({"--arch", "resnet18", "--size", "64"});
  // He et al., table 1: 17 convolutions and a linear layer; three shortcuts are convolutions too.
  CHECK(net.count("conv2d") == 20);
  CHECK(net.count("batch_norm_eval") == 20);
  CHECK(net.count("relu") == 17);
  CHECK(net.count("add") == 8);
  CHECK(net.count("gemm") == 1);
  CHECK(net.leads("input", "conv1: conv2d"));
  CHECK(net.leads("conv1: conv2d", "bn1: batch_norm_eval"));
  CHECK(net.leads("fc: gemm", "logits"));
  // All but the input come from somewhere, all but the output lead somewhere.
  for (const auto& [name, label] : net.nodes) {
    CAPTURE(label);
    CHECK(std::any_of(net.edges.begin(), net.edges.end(), [&](const auto& e) { return e.second == name; }) ==
          (label != "input"));
    CHECK(std::any_of(net.edges.begin(), net.edges.end(), [&](const auto& e) { return e.first == name; }) ==
          (label != "logits"));
  }

  const Drawn training = drawn({"--arch", "resnet18", "--size", "64", "--train", "--batch", "4"});
  CHECK(training.count("conv2d") == 20);
  CHECK(training.count("batch_norm_train") == 20);
  CHECK(training.count("batch_norm_train_backward") == 20);
  CHECK(training.count("conv2d_backward_filter") == 20);
  CHECK(training.count("conv2d_backward_data") == 19);  // nobody asks for the pictures' gradient
  CHECK(training.has("labels"));
  CHECK(training.has("loss"));
}

TEST_CASE("graph --fused: what the kernels do in one go") {
  // In prediction each convolution takes its batch norm, and behind it the sum and the ReLU where they follow.
  const Drawn net = drawn({"--arch", "resnet18", "--size", "64", "--fused"});
  CHECK(net.count("conv2d") == 20);
  CHECK(net.count("batch_norm_fold") == 20);
  for (const char* gone : {"batch_norm_eval", "relu", "add"}) CHECK(net.count(gone) == 0);
  CHECK(net.has("conv1 + bn1 + relu: conv2d"));
  CHECK(net.leads("input", "conv1 + bn1 + relu: conv2d"));

  // In training a batch norm takes what follows it, and its backward pass the ReLU's.
  std::vector<std::string> step = {"--arch", "resnet18", "--train", "--batch", "64", "--fused"};
  const Drawn training = drawn(step);
  CHECK(training.count("relu") == 0);
  CHECK(training.count("relu_backward") == 0);
  CHECK(training.count("add") == 0);  // of gradients, where a shortcut branches off: the convolution's there adds
  CHECK(training.has("conv1 + add: conv2d_backward_data"));
  CHECK(training.has("bn1 + relu: batch_norm_train"));
  // On Hopper, in bfloat16, convolutions of large pictures find the statistics of the batch norm behind them.
  step.insert(step.end(), {"--bf16", "--capability", "90"});
  const Drawn hopper = drawn(step);
  CHECK(hopper.count("conv2d_statistics") > 0);
  CHECK(hopper.count("conv2d_statistics") == hopper.count("batch_norm_train_gathered"));
  CHECK(hopper.count("conv2d_statistics") + hopper.count("conv2d") == 20);
}

TEST_CASE("graph --out: a file, whole or as it was, and how to see it") {
  const TemporaryFolder folder;
  const fs::path file = folder / "net.dot";
  const auto written = dogs_vs_cats(
      {"graph", "--arch", "lenet", "--size", "28", "--channels", "1", "--classes", "10", "--out", file.string()});
  CAPTURE(written.err);
  REQUIRE(written.status == 0);
  CHECK(lines(written.out) == 1);
  CHECK(written.out.find("dot -Tsvg") != std::string::npos);
  const std::string dot = read_all(file);
  CHECK(dot.find("(1, 10)") != std::string::npos);
  CHECK(read(dot).count("conv2d") == 2);
  for (const auto& entry : fs::directory_iterator(folder.path())) CHECK(entry.path() == file);

  const auto nowhere = dogs_vs_cats({"graph", "--out", (folder / "no/such/net.dot").string()});
  CHECK(nowhere.status == 1);
  CHECK(lines(nowhere.err) == 1);
  CHECK(nowhere.err.find("net.dot") != std::string::npos);
}

TEST_CASE("graph: what makes no sense is bad usage") {
  const auto unknown = dogs_vs_cats({"graph", "--arch", "resnet19"});
  CHECK(unknown.status == 2);
  CHECK(unknown.out.empty());
  CHECK(lines(unknown.err) == 1);
  CHECK(unknown.err.find("resnet19") != std::string::npos);
  for (const std::string& arch : weft::model_names()) CHECK(unknown.err.find(arch) != std::string::npos);
  CHECK(dogs_vs_cats({"graph", "--classes", "1"}).status == 2);
  CHECK(dogs_vs_cats({"graph", "--capability", "90"}).status == 2);  // of what is fused alone
  const auto small = dogs_vs_cats({"graph", "--size", "1", "--arch", "squeezenet1_1"});
  CHECK(small.status == 2);
  CHECK(lines(small.err) == 1);
  CHECK(small.err.find("--size") != std::string::npos);
}
