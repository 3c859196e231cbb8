// dogs_vs_cats: class folders in, a trained classifier out.
// Exit status: 0 done; 1 it failed, one line on stderr says what, where and what to do; 2 bad usage.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <new>
#include <string>

#include "kernels/error.h"
#include "tools/command_line.h"
#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {
namespace {

std::string remembered;

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("-_./=:,+%@").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

}  // namespace

void remember_command(int argc, char** argv) {
  for (int i = 0; i < argc; ++i) remembered += (i > 0 ? " " : "") + quoted(argv[i]);
}

const std::string& command_line() {
  return remembered;
}

void require_choice(const std::string& option, const std::string& value, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  std::string list;
  for (const auto& choice : choices) list += (list.empty() ? "" : ", ") + choice;
  throw UsageError(fmt::format("{} {}: there is no such choice; it is one of {}", option, value, list));
}

}  // namespace weft::cli

int main(int argc, char** argv) {
  CLI::App app{"Trains and uses picture classifiers. DATA has train/CLASS/* and valid/CLASS/*, or CLASS/* alone.",
               "dogs_vs_cats"};
  weft::cli::add_version(app);
  app.require_subcommand(1);
  weft::cli::add_train(app);
  weft::cli::add_predict(app);
  weft::cli::add_evaluate(app);
  weft::cli::add_compare(app);
  weft::cli::add_lr_find(app);
  weft::cli::add_schedule(app);
  weft::cli::add_graph(app);
  weft::cli::add_report(app);
  weft::cli::add_augment(app);
  weft::cli::add_audit(app);
  weft::cli::add_sample(app);
  weft::cli::add_unpack(app);
  weft::cli::remember_command(argc, argv);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::RuntimeError& error) {  // a verb's own exit status
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return weft::cli::answer(app, error);
  } catch (const weft::UsageError& error) {
    fmt::print(stderr, "dogs_vs_cats: {}\n", error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "dogs_vs_cats: out of memory; try a smaller --batch or --size\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "dogs_vs_cats: {}\n", error.what());
  }
  return 1;
}
