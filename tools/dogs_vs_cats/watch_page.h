#pragma once
// The page of `train --watch`: draws what /points says, as it grows.

#include <string>

namespace weft::cli {

/// HTML that needs nothing but /points beside it, asked for once a second until the training has ended.
std::string watch_page();

}  // namespace weft::cli
