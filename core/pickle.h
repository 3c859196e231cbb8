#pragma once
// Reads a Python pickle as plain data. Nothing is imported or called: a global stays a name, a call stays the pair of
// the name and its arguments, and whoever reads the result decides what a known name means. An unknown global or opcode
// is refused by its name as soon as it is met.

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::pickle {

enum class Kind {
  none,
  boolean,     ///< `integer`
  integer,     ///< `integer`
  real,        ///< `real`
  text,        ///< `text`
  bytes,       ///< `text`
  tuple,       ///< `items`
  list,        ///< `items`
  dict,        ///< `pairs`
  global,      ///< `text`: "torch.FloatStorage"
  persistent,  ///< `items[0]`: the id by which the pickle refers to something outside it
  call,        ///< `items[0]`: the global, `items[1]`: the tuple of arguments; `pairs`: items set on the result
};

/// "a tuple", "a number", ... for messages.
std::string_view describe(Kind kind);

/// One object. Texts point into the pickle; objects may refer to each other in circles, so a document owns them all.
struct Value {
  Kind kind = Kind::none;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;
  std::vector<const Value*> items;
  std::vector<std::pair<const Value*, const Value*>> pairs;
};

struct Document {
  std::deque<Value> values;
  std::deque<std::string> names;  ///< of globals
  const Value* root = nullptr;
};

/// Reads protocols 2 to 5, as far as containers of plain values need them. `bytes` must outlive the document; `allowed`
/// says which globals ("module.name") may occur. Throws Error, beginning with `file`.
Document read(const std::string& file, std::string_view bytes, const std::function<bool(std::string_view)>& allowed);

}  // namespace weft::pickle
