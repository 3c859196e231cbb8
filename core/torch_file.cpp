#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "core/files.h"
#include "core/pickle.h"
#include "core/safetensors.h"
#include "core/zip.h"
#include "kernels/error.h"

// torch.save's format since version 1.6: a zip with PREFIX/data.pkl, a pickle whose tensors refer to storages by key,
// and PREFIX/data/KEY, the bytes of each storage. A tensor is a call of torch._utils._rebuild_tensor_v2(storage,
// offset, size, stride, ...), a parameter one of _rebuild_parameter(tensor, ...); both are read here, not made.
static_assert(std::endian::native == std::endian::little, "torch's storages are little-endian, and copied as such");

namespace weft {

namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::uint64_t kMostPickleBytes = 16u << 20;
// An expanded tensor (stride 0) has more elements than its storage: up to here that is believed.
constexpr std::int64_t kMostExpanded = 1 << 20;

constexpr std::array<std::pair<std::string_view, DType>, 6> kStorages = {{{"torch.FloatStorage", DType::f32},
                                                                          {"torch.HalfStorage", DType::f16},
                                                                          {"torch.BFloat16Storage", DType::bf16},
                                                                          {"torch.IntStorage", DType::i32},
                                                                          {"torch.LongStorage", DType::i64},
                                                                          {"torch.ByteStorage", DType::u8}}};
// Harmless, but of element types that Weft has not: met by name, so that the refusal can name the tensor.
constexpr std::array<std::string_view, 6> kOtherStorages = {"torch.DoubleStorage",       "torch.BoolStorage",
                                                            "torch.CharStorage",         "torch.ShortStorage",
                                                            "torch.ComplexFloatStorage", "torch.ComplexDoubleStorage"};

constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

bool is_allowed(std::string_view global) {
  return global == kRebuildTensor || global == kRebuildParameter || global == kOrderedDict ||
         std::ranges::find(kOtherStorages, global) != kOtherStorages.end() ||
         std::ranges::find(kStorages, global, &std::pair<std::string_view, DType>::first) != kStorages.end();
}

bool is_call_of(const Value& value, std::string_view global) {
  return value.kind == Kind::call && value.items[0]->text == global;
}

using Items = std::vector<std::pair<const Value*, const Value*>>;

// The items of a dict or an OrderedDict; none for anything else.
std::optional<Items> items_of(const Value& value) {
  if (value.kind == Kind::dict) {
    return value.pairs;
  }
  if (!is_call_of(value, kOrderedDict)) {
    return std::nullopt;
  }
  Items items;
  // Old Pythons give the items as an argument, [[key, value], ...].
  for (const Value* argument : value.items[1]->items) {
    for (const Value* item : argument->items) {
      if (item->items.size() == 2) {
        items.emplace_back(item->items[0], item->items[1]);
      }
    }
  }
  items.insert(items.end(), value.pairs.begin(), value.pairs.end());
  return items;
}

std::string printable(std::string_view text) {
  std::string out(text.substr(0, 200));
  std::ranges::replace_if(
      out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

// Where a tensor's elements lie in its storage.
struct View {
  std::int64_t offset = 0;
  std::vector<std::int64_t> size, stride;
};

// Copies the elements of a view, which have been checked to lie in `from`, in row-major order.
template <class T>
void gather(const char* from, const View& view, std::int64_t elements, void* to) {
  T* target = static_cast<T*>(to);
  std::vector<std::int64_t> index(view.size.size(), 0);
  std::int64_t at = view.offset;
  for (std::int64_t i = 0; i < elements; ++i) {
    std::memcpy(target + i, from + at * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    for (std::size_t axis = index.size(); axis-- > 0;) {  // the next index, the last axis running fastest
      at += view.stride[axis];
      if (++index[axis] < view.size[axis]) {
        break;
      }
      at -= view.stride[axis] * view.size[axis];
      index[axis] = 0;
    }
  }
}

class TorchFile {
 public:
  explicit TorchFile(const std::filesystem::path& path)
      : file_(path.string()), bytes_(read_file(path)), zip_(file_, bytes_) {
    for (const std::string& name : zip_.names()) {
      if (name.ends_with("/data.pkl")) {
        prefix_ = name.substr(0, name.size() - std::string_view("data.pkl").size());
      }
    }
    if (prefix_.empty()) {
      fail(file_ + " is a zip archive, but not one of torch's: it has no data.pkl");
    }
    if (zip_.contains(prefix_ + "byteorder") && zip_.read(prefix_ + "byteorder") != "little") {
      fail(file_ + " was written on a big-endian machine; load it with torch there and save it as safetensors");
    }
  }

  std::map<std::string, Tensor> read() {
    const std::string_view bytes = zip_.read(prefix_ + "data.pkl");
    if (bytes.size() > kMostPickleBytes) {
      fail(file_ + ": its data.pkl has " + std::to_string(bytes.size()) + " bytes; more than " +
           std::to_string(kMostPickleBytes) + " are not accepted");
    }
    const pickle::Document document = pickle::read(file_ + ": data.pkl", bytes, is_allowed);
    const Value* root = document.root;
    std::optional<Items> items = items_of(*root);
    if (!items) {
      fail(file_ + " holds " + std::string(pickle::describe(root->kind)) + ", not a dictionary of tensors");
    }
    for (const auto& [key, value] : *items) {  // a checkpoint: the model's numbers are one entry among others
      if (key->kind == Kind::text && key->text == "state_dict" && items_of(*value)) {
        const Items inner = *items_of(*value);
        items = inner;
        break;
      }
    }
    std::map<std::string, Tensor> tensors;
    for (const auto& [key, value] : *items) {
      if (key->kind == Kind::text && is_tensor(*value)) {
        tensors.insert_or_assign(std::string(key->text), tensor_of(std::string(key->text), *value));
      }
    }
    if (tensors.empty()) {
      fail(file_ + " holds a dictionary without a single tensor");
    }
    return tensors;
  }

 private:
  [[noreturn]] void refuse(const std::string& name, const std::string& why) const {
    fail(file_ + ": tensor " + printable(name) + " " + why);
  }

  static bool is_tensor(const Value& value) {
    return is_call_of(value, kRebuildTensor) || is_call_of(value, kRebuildParameter);
  }

  std::int64_t integer(const std::string& name, const Value& value, const char* what) const {
    if (value.kind != Kind::integer || value.integer < 0) {
      refuse(name, std::string("has a ") + what + " that is no number from 0 on");
    }
    return value.integer;
  }

  std::vector<std::int64_t> integers(const std::string& name, const Value& value, const char* what) const {
    if (value.kind != Kind::tuple) {
      refuse(name, std::string("has a ") + what + " that is no tuple");
    }
    std::vector<std::int64_t> numbers;
    for (const Value* item : value.items) {
      numbers.push_back(integer(name, *item, what));
    }
    return numbers;
  }

  // A storage: its type and its bytes. ids are ("storage", torch.FloatStorage, key, location, elements).
  std::pair<DType, std::string_view> storage_of(const std::string& name, const Value& value) {
    if (value.kind != Kind::persistent || value.items[0]->kind != Kind::tuple || value.items[0]->items.size() != 5) {
      refuse(name, "does not refer to a storage");
    }
    const std::vector<const Value*>& id = value.items[0]->items;
    if (id[0]->kind != Kind::text || id[0]->text != "storage" || id[1]->kind != Kind::global ||
        id[2]->kind != Kind::text) {
      refuse(name, "refers to a storage in an unknown way");
    }
    const auto* type = std::ranges::find(kStorages, id[1]->text, &std::pair<std::string_view, DType>::first);
    if (type == kStorages.end()) {
      refuse(name, "lies in a " + std::string(id[1]->text) + ", a type that is not supported; supported are Float, " +
                       "Half, BFloat16, Int, Long and Byte storages");
    }
    const std::string_view bytes = zip_.read(prefix_ + "data/" + std::string(id[2]->text));
    const std::int64_t elements = integer(name, *id[4], "storage size");
    if (bytes.size() % size_of(type->second) != 0 ||
        static_cast<std::int64_t>(bytes.size() / size_of(type->second)) != elements) {
      refuse(name, "lies in a storage of " + std::to_string(elements) + " elements of " +
                       std::string(name_of(type->second)) + ", but the archive has " + std::to_string(bytes.size()) +
                       " bytes for it");
    }
    return {type->second, bytes};
  }

  Tensor tensor_of(const std::string& name, const Value& call) {
    const std::vector<const Value*>& arguments = call.items[1]->items;
    if (is_call_of(call, kRebuildParameter)) {
      if (arguments.empty() || !is_call_of(*arguments[0], kRebuildTensor)) {
        refuse(name, "is a parameter without a tensor");
      }
      return tensor_of(name, *arguments[0]);
    }
    if (arguments.size() < 4) {
      refuse(name, "is described by too few arguments");
    }
    const auto [dtype, bytes] = storage_of(name, *arguments[0]);
    View view = {integer(name, *arguments[1], "storage offset"), integers(name, *arguments[2], "size"),
                 integers(name, *arguments[3], "stride")};
    if (view.size.size() != view.stride.size()) {
      refuse(name, "has another number of strides than of axes");
    }
    const Shape shape(view.size);
    check_view(name, shape, view, static_cast<std::int64_t>(bytes.size() / size_of(dtype)));
    Tensor tensor(shape, dtype);
    switch (size_of(dtype)) {
      case 1:
        gather<std::uint8_t>(bytes.data(), view, shape.elements(), tensor.data());
        break;
      case 2:
        gather<std::uint16_t>(bytes.data(), view, shape.elements(), tensor.data());
        break;
      case 4:
        gather<std::uint32_t>(bytes.data(), view, shape.elements(), tensor.data());
        break;
      default:
        gather<std::uint64_t>(bytes.data(), view, shape.elements(), tensor.data());
    }
    return tensor;
  }

  // The last element lies in the storage, and the tensor is not absurdly larger than that. The stride of an axis of
  // extent 1 can be anything, and becomes 0 so that walking the view never overflows.
  void check_view(const std::string& name, const Shape& shape, View& view, std::int64_t stored) const {
    const std::int64_t elements = shape.elements();
    if (elements == 0) {
      return;
    }
    std::int64_t last = view.offset;
    for (std::size_t axis = 0; axis < view.size.size(); ++axis) {
      std::int64_t reach = 0;
      if (view.size[axis] == 1) {
        view.stride[axis] = 0;
      }
      if (__builtin_mul_overflow(view.size[axis] - 1, view.stride[axis], &reach) ||
          __builtin_add_overflow(last, reach, &last)) {
        last = std::numeric_limits<std::int64_t>::max();
        break;
      }
    }
    if (last >= stored) {
      refuse(name,
             "of shape " + to_string(shape) + " reaches past its storage of " + std::to_string(stored) + " elements");
    }
    if (elements > std::max(stored, kMostExpanded)) {
      refuse(name,
             "of shape " + to_string(shape) + " repeats a storage of only " + std::to_string(stored) + " elements");
    }
  }

  std::string file_, bytes_;
  ZipArchive zip_;
  std::string prefix_;
};

}  // namespace

std::map<std::string, Tensor> load_torch(const std::filesystem::path& path) {
  return TorchFile(path).read();
}

}  // namespace weft
