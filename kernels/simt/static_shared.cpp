#include "kernels/simt/static_shared.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if WEFT_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/launches.h"

namespace weft::simt {

thread_local constinit std::uint64_t block_generation = 0;

/// The shared variables of one function, by their distance from the mark.
struct SharedGroup {
  struct Variable {
    std::ptrdiff_t from_mark;
    std::size_t bytes;
  };
  std::vector<Variable> variables;
  std::ptrdiff_t first_mark = 0;  // a function may have several declarations, and so several marks
};

namespace {

constexpr std::string_view kMark = "weft_shared_mark_";
// Thread-local symbols count from the start of the module's thread-local block, others from where the module was
// loaded.
constexpr unsigned char kSymbolType = WEFT_SIMT_ASAN ? STT_OBJECT : STT_TLS;

struct Module {
  std::map<std::uintptr_t, SharedGroup> groups;  // by the mark's offset
};

struct Symbol {
  std::string_view name;
  std::uintptr_t offset;
  std::size_t bytes;
};

// A static of a function is called _ZZ<function>E<length><name>: those of one function begin alike, up to that E.
std::string_view function_of(std::string_view mark) {
  std::size_t end = mark.rfind(kMark);
  while (end > 0 && mark[end - 1] >= '0' && mark[end - 1] <= '9') --end;
  return mark.substr(0, end);
}

Module read_symbols(const std::string& path) {
  Module module;
  std::ifstream file(path, std::ios::binary);
  const auto read = [&](std::size_t offset, void* to, std::size_t bytes) {
    file.seekg(static_cast<std::streamoff>(offset));
    return static_cast<bool>(file.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes)));
  };
  ElfW(Ehdr) header;
  if (!read(0, &header, sizeof header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return module;
  std::vector<ElfW(Shdr)> sections(header.e_shnum);
  if (!read(header.e_shoff, sections.data(), sections.size() * sizeof(ElfW(Shdr)))) return module;
  for (const ElfW(Shdr) & section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    std::vector<ElfW(Sym)> table(section.sh_size / sizeof(ElfW(Sym)));
    std::vector<char> names(sections[section.sh_link].sh_size + 1);
    if (!read(section.sh_offset, table.data(), table.size() * sizeof(ElfW(Sym)))) continue;
    if (!read(sections[section.sh_link].sh_offset, names.data(), names.size() - 1)) continue;
    std::vector<Symbol> symbols;
    for (const ElfW(Sym) & entry : table) {
      if (ELF64_ST_TYPE(entry.st_info) != kSymbolType || entry.st_name >= names.size()) continue;
      const std::string_view name(names.data() + entry.st_name);
      if (name.substr(0, 3) == "_ZZ") symbols.push_back({name, entry.st_value, entry.st_size});
    }
    std::sort(symbols.begin(), symbols.end(), [](const Symbol& a, const Symbol& b) { return a.name < b.name; });
    for (const Symbol& mark : symbols) {
      if (mark.name.find(kMark) == std::string_view::npos) continue;
      const std::string_view function = function_of(mark.name);
      SharedGroup& group = module.groups[mark.offset];
      bool marked = false;
      auto at = std::lower_bound(symbols.begin(), symbols.end(), function,
                                 [](const Symbol& s, std::string_view name) { return s.name < name; });
      for (; at != symbols.end() && at->name.substr(0, function.size()) == function; ++at) {
        const char next = at->name.size() > function.size() ? at->name[function.size()] : '\0';
        if (next < '0' || next > '9') continue;
        if (at->name.find(kMark) != std::string_view::npos) {
          if (!marked) group.first_mark = static_cast<std::ptrdiff_t>(at->offset - mark.offset);
          marked = true;
          continue;
        }
        group.variables.push_back({static_cast<std::ptrdiff_t>(at->offset - mark.offset), at->bytes});
      }
    }
  }
  return module;
}

struct Lookup {
  std::uintptr_t mark;
  const SharedGroup* found = nullptr;
};

// Looks for the mark in each module's symbols, at its distance from where this thread has the module's variables.
int visit(dl_phdr_info* info, std::size_t, void* data) {
  static auto& modules = *new std::map<std::string, Module>;
  auto& lookup = *static_cast<Lookup*>(data);
  std::uintptr_t base = info->dlpi_addr;
  if (!WEFT_SIMT_ASAN) {
    if (!info->dlpi_tls_data) return 0;
    base = reinterpret_cast<std::uintptr_t>(info->dlpi_tls_data);
  }
  const std::string path = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
  auto module = modules.find(path);
  if (module == modules.end()) module = modules.emplace(path, read_symbols(path)).first;
  const auto group = module->second.groups.find(lookup.mark - base);
  if (group == module->second.groups.end()) return 0;
  lookup.found = &group->second;
  return 1;
}

const SharedGroup* find_group(const void* mark) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  Lookup lookup{reinterpret_cast<std::uintptr_t>(mark)};
  dl_iterate_phdr(visit, &lookup);
  static const SharedGroup none;
  return lookup.found ? lookup.found : &none;
}

/// The variables that the running block has come by.
struct Passed {
  std::uint64_t generation = 0;
  std::vector<std::pair<std::uintptr_t, std::size_t>> variables;
};

Passed& passed() {
  static thread_local Passed variables;
  if (variables.generation != block_generation) {
    variables.generation = block_generation;
    variables.variables.clear();
  }
  return variables;
}

}  // namespace

bool in_static_shared(const void* address, std::size_t bytes) {
  static const bool can_tell = shared_poison_available();
  if (!can_tell) return true;
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (const auto& [begin, size] : passed().variables)
    if (at >= begin && at - begin <= size && bytes <= size - (at - begin)) return true;
  return false;
}

void fill_poison(void* memory, std::size_t bytes) {
  auto* bytes_left = static_cast<unsigned char*>(memory);
  for (; bytes >= sizeof kPoison; bytes -= sizeof kPoison, bytes_left += sizeof kPoison)
    std::memcpy(bytes_left, &kPoison, sizeof kPoison);
  std::memcpy(bytes_left, &kPoison, bytes);
}

void SharedMark::poison() {
  // Under AddressSanitizer these variables are the process's, and a cluster's blocks run at once.
  if (WEFT_SIMT_ASAN && running_block && running_block->cluster().size() > 1)
    fail("a kernel of clusters must keep to dynamic shared memory where AddressSanitizer watches");
  if (!group_) group_ = find_group(this);
  SharedMark& first = *reinterpret_cast<SharedMark*>(reinterpret_cast<char*>(this) + group_->first_mark);
  const bool done = first.generation_ == block_generation;  // at an earlier declaration: some of it is written by now
  first.generation_ = generation_ = block_generation;
  if (done) return;
  for (const SharedGroup::Variable& variable : group_->variables) {
    char* const memory = reinterpret_cast<char*>(this) + variable.from_mark;
    std::size_t bytes = variable.bytes;
#if WEFT_SIMT_ASAN
    // clang counts the red zone into the variable's size.
    if (const auto* zone = static_cast<const char*>(__asan_region_is_poisoned(memory, bytes)))
      bytes = static_cast<std::size_t>(zone - memory);
#endif
    fill_poison(memory, bytes);
    passed().variables.emplace_back(reinterpret_cast<std::uintptr_t>(memory), bytes);
  }
  if (!launches_watched()) return;
  std::size_t bytes = 0;
  for (const auto& variable : passed().variables) bytes += variable.second;
  note_static_shared(bytes);
}

bool shared_poison_available() {
  WEFT_SIMT_BLOCK_STATIC constinit SharedMark weft_shared_mark_0;
  [[maybe_unused]] WEFT_SIMT_BLOCK_STATIC volatile int variable;
  variable = 0;
  return !find_group(&weft_shared_mark_0)->variables.empty();
}

}  // namespace weft::simt
