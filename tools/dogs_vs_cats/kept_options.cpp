#include "tools/dogs_vs_cats/kept_options.h"

namespace weft::cli {

void KeptOptions::take(const std::map<std::string, std::string>& former, const std::string& where) {
  for (auto& kept : kept_) {
    const auto found = former.find(kept.name);
    if (found == former.end()) continue;
    if (kept.option->count() == 0) {
      kept.set(found->second);
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
