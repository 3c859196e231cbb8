#include "nn/callback.h"

#include <utility>

namespace weft {

Callback::~Callback() = default;

Training::Training(ParameterStore& store, std::filesystem::path run, Note note)
    : store_(store), run_(std::move(run)), note_(std::move(note)) {}

void Training::stop_after_epoch(const std::string& why) {
  if (!stops_) note(why);
  stops_ = true;
}

}  // namespace weft
