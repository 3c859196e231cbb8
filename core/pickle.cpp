#include "core/pickle.h"

#include <array>
#include <bit>
#include <cstdio>
#include <unordered_map>

#include "core/pickle_opcodes.h"
#include "kernels/error.h"

namespace weft::pickle {

std::string_view describe(Kind kind) {
  switch (kind) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return "a boolean";
    case Kind::integer:
    case Kind::real:
      return "a number";
    case Kind::text:
      return "text";
    case Kind::bytes:
      return "bytes";
    case Kind::tuple:
      return "a tuple";
    case Kind::list:
      return "a list";
    case Kind::dict:
      return "a dictionary";
    case Kind::global:
      return "a global";
    case Kind::persistent:
      return "a storage";
    case Kind::call:
      return "an object";
  }
  return "an object";
}

namespace {

class Machine {
 public:
  Machine(const std::string& file, std::string_view bytes, const std::function<bool(std::string_view)>& allowed)
      : file_(file), bytes_(bytes), allowed_(allowed) {}

  Document run() {
    if (bytes_.size() < 2 || static_cast<unsigned char>(bytes_[0]) != PROTO) {
      refuse("it does not begin with a protocol number");
    }
    while (document_.root == nullptr) {
      opcode_at_ = at_;
      execute(static_cast<unsigned char>(take(1)[0]));
    }
    return std::move(document_);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    fail(file_ + " cannot be unpickled: " + why + " (byte " + std::to_string(opcode_at_) + ")");
  }

  std::string_view take(std::uint64_t bytes) {
    if (bytes > bytes_.size() - at_) {
      refuse("it ends too early");
    }
    const std::string_view piece = bytes_.substr(at_, bytes);
    at_ += bytes;
    return piece;
  }

  // A little-endian number without sign.
  std::uint64_t number(int bytes) {
    const std::string_view piece = take(static_cast<std::uint64_t>(bytes));
    std::uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; --i) {
      value = value << 8 | static_cast<unsigned char>(piece[static_cast<std::size_t>(i)]);
    }
    return value;
  }

  // Two's complement of up to 8 bytes, little-endian.
  std::int64_t long_number(int bytes) {
    if (bytes > 8) {
      refuse("it has a number of " + std::to_string(bytes) + " bytes");
    }
    if (bytes == 0) {
      return 0;
    }
    const int unused = 64 - 8 * bytes;
    return static_cast<std::int64_t>(number(bytes) << unused) >> unused;
  }

  std::string_view line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) {
      refuse("it ends too early");
    }
    const std::string_view text = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  Value& make(Kind kind) {
    document_.values.emplace_back().kind = kind;
    return document_.values.back();
  }

  Value& push(Kind kind) {
    Value& value = make(kind);
    stack_.push_back(&value);
    return value;
  }

  void push_integer(std::int64_t integer, Kind kind = Kind::integer) { push(kind).integer = integer; }
  void push_text(std::uint64_t bytes, Kind kind = Kind::text) {
    const std::string_view text = take(bytes);
    push(kind).text = text;
  }

  // Nothing below the last mark may be reached before the mark is taken.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Value& top() {
    if (stack_.size() <= floor()) {
      refuse("its stack is empty");
    }
    return *stack_.back();
  }

  Value* pop() {
    Value* value = &top();
    stack_.pop_back();
    return value;
  }

  std::vector<const Value*> pop_to_mark() {
    if (marks_.empty()) {
      refuse("it has no mark");
    }
    std::vector<const Value*> values(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return values;
  }

  void push_tuple(int count) {
    std::vector<const Value*> items(static_cast<std::size_t>(count));
    for (int i = count - 1; i >= 0; --i) {
      items[static_cast<std::size_t>(i)] = pop();
    }
    push(Kind::tuple).items = std::move(items);
  }

  void append(const std::vector<const Value*>& items) {
    Value& list = top();
    if (list.kind != Kind::list) {
      refuse("it appends to " + std::string(describe(list.kind)));
    }
    list.items.insert(list.items.end(), items.begin(), items.end());
  }

  void set_items(const std::vector<const Value*>& items) {
    Value& dict = top();
    if (dict.kind != Kind::dict && dict.kind != Kind::call) {
      refuse("it sets items of " + std::string(describe(dict.kind)));
    }
    if (items.size() % 2 != 0) {
      refuse("it sets a key without a value");
    }
    for (std::size_t i = 0; i < items.size(); i += 2) {
      dict.pairs.emplace_back(items[i], items[i + 1]);
    }
  }

  void push_global(std::string_view module, std::string_view name) {
    std::string full = std::string(module) + "." + std::string(name);
    if (!allowed_(full)) {
      for (char& c : full) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          c = '?';
        }
      }
      refuse("it wants the global " + full.substr(0, 200) + ", and only tensors and plain containers are read");
    }
    document_.names.push_back(std::move(full));
    push(Kind::global).text = document_.names.back();
  }

  void get(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) {
      refuse("it recalls object " + std::to_string(index) + ", which it never stored");
    }
    stack_.push_back(found->second);
  }

  void execute(unsigned char opcode) {
    switch (opcode) {
      case PROTO:
        if (const std::uint64_t protocol = number(1); protocol < 2 || protocol > 5) {
          refuse("protocol " + std::to_string(protocol) + " is none of 2 to 5");
        }
        return;
      case FRAME:
        take(8);  // frames only help a reader of streams
        return;
      case STOP:
        document_.root = pop();
        return;
      case MARK:
        marks_.push_back(stack_.size());
        return;
      case NONE:
        push(Kind::none);
        return;
      case NEWTRUE:
      case NEWFALSE:
        return push_integer(opcode == NEWTRUE ? 1 : 0, Kind::boolean);
      case BININT:
        return push_integer(long_number(4));
      case BININT1:
        return push_integer(static_cast<std::int64_t>(number(1)));
      case BININT2:
        return push_integer(static_cast<std::int64_t>(number(2)));
      case LONG1:
        return push_integer(long_number(static_cast<int>(number(1))));
      case BINFLOAT: {  // big-endian, unlike all else
        const std::uint64_t bits = __builtin_bswap64(number(8));
        push(Kind::real).real = std::bit_cast<double>(bits);
        return;
      }
      case BINUNICODE:
        return push_text(number(4));
      case SHORT_BINUNICODE:
        return push_text(number(1));
      case BINUNICODE8:
        return push_text(number(8));
      case BINBYTES:
        return push_text(number(4), Kind::bytes);
      case SHORT_BINBYTES:
        return push_text(number(1), Kind::bytes);
      case EMPTY_TUPLE:
        return push_tuple(0);
      case TUPLE1:
        return push_tuple(1);
      case TUPLE2:
        return push_tuple(2);
      case TUPLE3:
        return push_tuple(3);
      case TUPLE: {
        std::vector<const Value*> items = pop_to_mark();
        push(Kind::tuple).items = std::move(items);
        return;
      }
      case EMPTY_LIST:
        push(Kind::list);
        return;
      case APPEND: {
        const Value* item = pop();
        return append({item});
      }
      case APPENDS:
        return append(pop_to_mark());
      case EMPTY_DICT:
        push(Kind::dict);
        return;
      case SETITEM: {
        const Value* value = pop();
        const Value* key = pop();
        return set_items({key, value});
      }
      case SETITEMS:
        return set_items(pop_to_mark());
      case GLOBAL: {
        const std::string_view module = line();
        return push_global(module, line());
      }
      case STACK_GLOBAL: {
        const Value* name = pop();
        const Value* module = pop();
        if (name->kind != Kind::text || module->kind != Kind::text) {
          refuse("the name of a global is not text");
        }
        return push_global(module->text, name->text);
      }
      case REDUCE: {
        const Value* arguments = pop();
        const Value* callee = pop();
        if (callee->kind != Kind::global || arguments->kind != Kind::tuple) {
          refuse("it calls " + std::string(describe(callee->kind)));
        }
        push(Kind::call).items = {callee, arguments};
        return;
      }
      case BUILD: {  // attributes set on an object, as OrderedDict's _metadata: nothing here reads them
        pop();
        if (top().kind != Kind::call) {
          refuse("it sets attributes of " + std::string(describe(top().kind)));
        }
        return;
      }
      case BINPERSID: {
        const Value* id = pop();
        push(Kind::persistent).items = {id};
        return;
      }
      case BINPUT:
        memo_[number(1)] = &top();
        return;
      case LONG_BINPUT:
        memo_[number(4)] = &top();
        return;
      case MEMOIZE:
        memo_[memo_.size()] = &top();
        return;
      case BINGET:
        return get(number(1));
      case LONG_BINGET:
        return get(number(4));
      default: {
        std::array<char, 8> hex = {};
        std::snprintf(hex.data(), hex.size(), "0x%02x", opcode);
        refuse("opcode " + std::string(name_of_refused(opcode)) + " (" + hex.data() + ") is not among those that a " +
               "file of tensors needs");
      }
    }
  }

  const std::string& file_;
  std::string_view bytes_;
  const std::function<bool(std::string_view)>& allowed_;
  std::uint64_t at_ = 0, opcode_at_ = 0;
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Value*> memo_;
  Document document_;
};

}  // namespace

Document read(const std::string& file, std::string_view bytes, const std::function<bool(std::string_view)>& allowed) {
  return Machine(file, bytes, allowed).run();
}

}  // namespace weft::pickle
