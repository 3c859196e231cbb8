#include "kernels/rung_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>

#include "kernels/error.h"

namespace weft {
namespace {

constexpr const char* kTitle = "weft rung table 1";
constexpr const char* kTypes[] = {"f32", "f16", "bf16", "i32", "i64", "u8"};  // by DType

bool parse_number(std::string_view text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

/// "M=4096,N=1"; false where it is not of that form.
bool parse_extents(const std::string& text, NamedExtents& extents) {
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    std::int64_t value = 0;
    if (equals == std::string::npos || equals == 0 || !parse_number(std::string_view(part).substr(equals + 1), value))
      return false;
    if (!extents.emplace(part.substr(0, equals), value).second) return false;
  }
  return !extents.empty();
}

int digits(std::int64_t value) {
  return std::bit_width(static_cast<std::uint64_t>(value < 0 ? -value : value));
}

/// Sum of the extents' distances in powers of two; infinite where the two are of different classes.
double distance(const NamedExtents& a, const NamedExtents& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double sum = 0;
  for (auto x = a.begin(), y = b.begin(); x != a.end(); ++x, ++y) {
    if (x->first != y->first || digits(x->second) != digits(y->second)) return std::numeric_limits<double>::infinity();
    if (x->second != y->second)
      sum += std::fabs(std::log2(std::fabs(static_cast<double>(x->second) / static_cast<double>(y->second))));
  }
  return sum;
}

}  // namespace

NamedExtents named_extents(const Op& op, const Problem& problem) {
  NamedExtents extents;
  for (std::size_t i = 0; i < op.extent_names.size(); ++i)
    if (problem.extents[i] != 0) extents.emplace(op.extent_names[i], problem.extents[i]);
  return extents;
}

std::string extents_text(const Op& op, const Problem& problem) {
  std::string text;
  for (std::size_t i = 0; i < op.extent_names.size(); ++i)
    if (problem.extents[i] != 0)
      text += fmt::format("{}{}={}", text.empty() ? "" : ",", op.extent_names[i], problem.extents[i]);
  return text;
}

RungTable RungTable::parse(std::string_view text, const std::string& where) {
  std::istringstream lines{std::string(text)};
  std::string line;
  int number = 0;
  const auto refuse = [&](const std::string& what) { fail(fmt::format("{}:{}: {}", where, number, what)); };
  const auto next = [&](const std::string& wanted) {
    ++number;
    if (!std::getline(lines, line)) refuse(fmt::format("the table ends where \"{}\" should stand", wanted));
  };
  next(kTitle);
  if (line != kTitle) refuse(fmt::format("not a table of rungs: the first line should be \"{}\"", kTitle));
  next("device NAME");
  if (!line.starts_with("device ") || line.size() < 8) refuse("should be \"device NAME\"");
  std::string device = line.substr(7);
  next("capability NN");
  std::int64_t capability = 0;
  if (!line.starts_with("capability ") || !parse_number(std::string_view(line).substr(11), capability) ||
      capability < 1 || capability > 999)
    refuse("should be \"capability NN\", the compute capability times ten");
  RungTable table(std::move(device), static_cast<int>(capability));
  while (std::getline(lines, line)) {
    ++number;
    if (line.empty() || line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string type, shape, more;
    Entry entry;
    words >> entry.op >> type >> shape >> entry.rung;
    if (entry.rung.empty() || words >> more) refuse("should be \"OP TYPE SHAPE RUNG\", four words");
    const auto* known = std::find(std::begin(kTypes), std::end(kTypes), type);
    if (known == std::end(kTypes)) refuse(fmt::format("there is no type \"{}\"", type));
    entry.dtype = static_cast<DType>(known - std::begin(kTypes));
    if (!parse_extents(shape, entry.extents))
      refuse(fmt::format("\"{}\" is no shape: NAME=NUMBER, with commas between, each name once", shape));
    for (const Entry& other : table.entries_)
      if (other.op == entry.op && other.dtype == entry.dtype && other.extents == entry.extents)
        refuse("this call is in the table twice");
    table.by_op_[entry.op].push_back(table.entries_.size());
    table.entries_.push_back(std::move(entry));
  }
  return table;
}

void RungTable::add(const Op& op, const Problem& problem, std::string_view rung) {
  by_op_[op.name].push_back(entries_.size());
  entries_.push_back({op.name, problem.dtype, named_extents(op, problem), std::string(rung)});
}

void RungTable::keep(const RungTable& older) {
  for (const Entry& entry : older.entries_) {
    const auto same = [&](const Entry& other) {
      return other.op == entry.op && other.dtype == entry.dtype && other.extents == entry.extents;
    };
    if (std::ranges::any_of(entries_, same)) continue;
    by_op_[entry.op].push_back(entries_.size());
    entries_.push_back(entry);
  }
}

std::string RungTable::text() const {
  std::string text =
      fmt::format("{}\ndevice {}\ncapability {}\n# op type shape rung; extents that are 0 are left out\n", kTitle,
                  device_, capability_);
  for (const Entry& entry : entries_) {
    std::string shape;
    for (const auto& [name, value] : entry.extents)
      shape += fmt::format("{}{}={}", shape.empty() ? "" : ",", name, value);
    text += fmt::format("{} {} {} {}\n", entry.op, kTypes[static_cast<int>(entry.dtype)], shape, entry.rung);
  }
  return text;
}

std::string_view RungTable::find(const Op& op, const Problem& problem) const {
  const auto candidates = by_op_.find(std::string_view(op.name));
  if (candidates == by_op_.end()) return {};
  const NamedExtents wanted = named_extents(op, problem);
  double nearest = std::numeric_limits<double>::infinity();
  std::string_view rung;
  for (const std::size_t i : candidates->second) {
    const Entry& entry = entries_[i];
    if (entry.dtype != problem.dtype) continue;
    const double away = distance(entry.extents, wanted);
    if (!(away < nearest)) continue;
    nearest = away;
    rung = entry.rung;
  }
  return rung;
}

const RungTable* table_for(std::span<const RungTable> tables, std::string_view device, int capability) {
  const RungTable* same_capability = nullptr;
  for (const RungTable& table : tables) {
    if (table.capability() != capability) continue;
    if (table.device() == device) return &table;
    if (same_capability == nullptr) same_capability = &table;
  }
  return same_capability;
}

int pick_rung(const Op& op, const Problem& problem, int capability, std::string_view device,
              std::span<const RungTable> tables) {
  const auto can = [&](int i) { return can_run(op.rungs[static_cast<std::size_t>(i)], problem, capability); };
  if (const RungTable* table = table_for(tables, device, capability)) {
    const std::string_view measured = table->find(op, problem);
    for (int i = 0; !measured.empty() && i < static_cast<int>(op.rungs.size()); ++i)
      if (measured == op.rungs[static_cast<std::size_t>(i)].name && can(i)) return i;
  }
  if (op.choose != nullptr) {
    const int chosen = op.choose(problem, capability);
    if (chosen >= 0 && can(chosen)) return chosen;
  }
  for (int i = static_cast<int>(op.rungs.size()) - 1; i >= 0; --i)
    if (can(i)) return i;
  return -1;
}

int pick_rung(const Op& op, const Problem& problem, int capability, std::string_view device) {
  return pick_rung(op, problem, capability, device, committed_rung_tables());
}

}  // namespace weft
