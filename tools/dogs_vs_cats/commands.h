#pragma once
// The verbs of dogs_vs_cats, a file each. Each adds its subcommand with the work as its callback.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace weft::cli {

void add_train(CLI::App& app);
void add_predict(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_compare(CLI::App& app);
void add_sample(CLI::App& app);
void add_schedule(CLI::App& app);
void add_graph(CLI::App& app);
void add_unpack(CLI::App& app);
void add_lr_find(CLI::App& app);
void add_audit(CLI::App& app);
void add_report(CLI::App& app);
void add_augment(CLI::App& app);

/// The command line as it was typed, quoted where a shell needs it: for config.json and for "go on with".
void remember_command(int argc, char** argv);
const std::string& command_line();

/// Throws UsageError naming the choices unless `value` is one of them.
void require_choice(const std::string& option, const std::string& value, const std::vector<std::string>& choices);

}  // namespace weft::cli
