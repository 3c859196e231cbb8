// graph: a network as Graphviz draws it, without data or weights; as it was built, or fused as the kernels run it.

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "core/files.h"
#include "core/kernel_device.h"
#include "core/passes.h"
#include "nn/model.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/sized_model.h"

namespace weft::cli {
namespace {

struct GraphCommand {
  std::string arch = "resnet18", out;
  std::int64_t size = 224, channels = 3, classes = 2, batch = 1;
  bool train = false, bfloat16 = false, fused = false;
  std::optional<int> capability;
};

Graph graph_of(const GraphCommand& command) {
  Classes classes;
  for (std::int64_t i = 0; i < command.classes; ++i) classes.push_back(fmt::format("class {}", i));
  const Model model = sized_model(command.arch, classes, command.channels, 0, {command.size, command.size});
  const Graph graph = model.graph({.batch = command.batch,
                                   .height = command.size,
                                   .width = command.size,
                                   .training = command.train,
                                   .bfloat16 = command.bfloat16});
  if (!command.fused) return graph;
  return KernelDevice(simt::target(), 0, {}, command.capability).prepare(graph, {});
}

void run(const GraphCommand& command) {
  const Graph graph = graph_of(command);
  const std::string dot = to_dot(graph);
  if (command.out.empty()) {
    fmt::print("{}", dot);
    return;
  }
  write_file_atomically(command.out, dot);
  fmt::print("Wrote {}: {}, {} nodes. To see it: dot -Tsvg {} -o {}.svg\n", command.out, command.arch,
             graph.node_count(), command.out, command.out);
}

}  // namespace

void add_graph(CLI::App& app) {
  auto* verb = app.add_subcommand("graph", "Writes a network for Graphviz to draw: nodes, shapes, what was fused");
  const auto c = std::make_shared<GraphCommand>();
  verb->add_option("--arch", c->arch, "Architecture")->capture_default_str();
  verb->add_option("--size", c->size, "Side of the pictures")->check(CLI::Range(1, 4096))->capture_default_str();
  verb->add_option("--channels", c->channels, "Of the pictures")->check(CLI::Range(1, 4096))->capture_default_str();
  verb->add_option("--classes", c->classes, "Of the head")->check(CLI::Range(2, 1000000))->capture_default_str();
  verb->add_option("--batch", c->batch, "Pictures in a step")->check(CLI::Range(1, 65536))->capture_default_str();
  verb->add_flag("--train", c->train, "With the loss and the backward pass; without it, for prediction");
  verb->add_flag("--bf16", c->bfloat16, "In bfloat16 with float32 weights: every cast is a node");
  auto* fused = verb->add_flag("--fused", c->fused, "As simt and cuda run it: several nodes in one kernel");
  verb->add_option("--capability", c->capability,
                   "Fused for a GPU of this compute capability, times ten: 80, 90; without it as simt does")
      ->check(CLI::Range(0, 999))
      ->needs(fused);
  verb->add_option("--out", c->out, "File to write; without it the text goes to standard output, for `dot -Tsvg`");
  verb->callback([c] { run(*c); });
}

}  // namespace weft::cli
