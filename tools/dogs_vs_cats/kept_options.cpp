#include "tools/dogs_vs_cats/kept_options.h"

namespace weft::cli {
namespace {

/// As if it had been given, checks included, but that it does not count as given.
void set(CLI::Option& option, const std::string& text, const std::string& where) {
  try {
    option.add_result(text);
    option.run_callback();
  } catch (const CLI::ParseError& error) {
    fail(fmt::format("{}: among the options that the run keeps, {}; give it anew, or train into another --out", where,
                     error.what()));
  }
  option.clear();
}

}  // namespace

void KeptOptions::take(const std::map<std::string, std::string>& former, const std::string& where) {
  for (auto& kept : kept_) {
    const auto found = former.find(kept.name);
    if (found == former.end()) continue;
    if (kept.option->count() == 0) {
      set(*kept.option, found->second, where);
    } else if (kept.text() != found->second) {
      const auto what = fmt::format("--{} is {} now and was {}", kept.name, kept.text(), found->second);
      if (!kept.may_differ)
        fail(fmt::format("{}: {}; leave it out to go on, or train into another --out", where, what));
      fmt::print("Going on although {}: the result's bits will differ.\n", what);
    }
  }
}

std::map<std::string, std::string> KeptOptions::texts() const {
  std::map<std::string, std::string> texts;
  for (const auto& kept : kept_) texts[kept.name] = kept.text();
  return texts;
}

}  // namespace weft::cli
