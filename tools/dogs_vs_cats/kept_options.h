#pragma once
// Options that belong to a run's result: kept in RUN/config.json, taken again by --resume.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/error.h"
#include "tools/command_line.h"

namespace weft::cli {

class KeptOptions {
 public:
  explicit KeptOptions(CLI::App* verb) : verb_(verb) {}

  /// Adds --NAME for `field`, which must outlive the command; a flag where it is a bool; a real number must be finite.
  /// `may_differ`: a resumed run may have another (device, thread count), and says so in a line.
  template <class T>
  CLI::Option* add(const std::string& name, T& field, const std::string& help, bool may_differ = false) {
    CLI::Option* option = nullptr;
    if constexpr (std::is_same_v<T, bool>) {
      option = verb_->add_flag("--" + name, field, help);
    } else {
      // The last one counts, so that a script's defaults can be overruled behind them.
      option = verb_->add_option("--" + name, field, help)->capture_default_str()->take_last();
      if constexpr (std::is_floating_point_v<T>) option->check(finite_number());
    }
    kept_.push_back({name, option, [&field] { return fmt::format("{}", field); }, may_differ});
    return option;
  }

  /// From a stopped run's options, those that were not given now. Throws Error naming one that was given and differs,
  /// or one that the command line would not take (the file was altered); `where` names the run in it.
  void take(const std::map<std::string, std::string>& former, const std::string& where);
  /// By name, as text, for config.json.
  std::map<std::string, std::string> texts() const;
  CLI::App* verb() const { return verb_; }

 private:
  struct Kept {
    std::string name;
    CLI::Option* option;
    std::function<std::string()> text;
    bool may_differ;
  };

  CLI::App* verb_;
  std::vector<Kept> kept_;
};

}  // namespace weft::cli
