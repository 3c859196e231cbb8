#pragma once

namespace weft {

/// "0.1.0": of this build, written into every RUN.
const char* version();

}  // namespace weft
