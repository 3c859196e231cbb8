#pragma once
// Which rung was fastest where it was measured: a table for each GPU, written by `weft_bench --tune FILE`, committed as
// kernels/tuned/*.txt and compiled in. The choice that follows from it is a function of the shape, the type and the
// device alone. A table is text, a line a call:
//
//   weft rung table 1
//   device NVIDIA H100 80GB HBM3
//   capability 90
//   # op type shape rung; extents that are 0 are left out
//   gemm bf16 M=4096,N=4096,K=4096 register-tile

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/catalogue.h"

namespace weft {

/// A call's extents by name; one that is 0 is not among them.
using NamedExtents = std::map<std::string, std::int64_t, std::less<>>;
NamedExtents named_extents(const Op& op, const Problem& problem);
/// "M=4096,N=4096,K=4096", in the op's order.
std::string extents_text(const Op& op, const Problem& problem);

class RungTable {
 public:
  /// Throws Error as "WHERE:LINE: what is wrong with it" for anything that is not a table.
  static RungTable parse(std::string_view text, const std::string& where);

  RungTable(std::string device, int capability) : device_(std::move(device)), capability_(capability) {}
  void add(const Op& op, const Problem& problem, std::string_view rung);
  /// Takes over what `older` says of calls that are not in this table.
  void keep(const RungTable& older);
  /// What parse() reads.
  std::string text() const;

  const std::string& device() const { return device_; }
  int capability() const { return capability_; }
  /// The rung that was fastest for this call: where exactly this shape was measured its, else that of the nearest shape
  /// of its class; empty where none was. A class is all shapes of the same op and type whose extents have the same
  /// number of binary digits: M from 2048 to 4095, a stride of 1, a filter of 3 x 3 (or 2 x 2).
  std::string_view find(const Op& op, const Problem& problem) const;

  struct Entry {
    std::string op;
    DType dtype = DType::f32;
    NamedExtents extents;
    std::string rung;
  };
  std::span<const Entry> entries() const { return entries_; }

 private:
  std::string device_;
  int capability_ = 0;
  std::vector<Entry> entries_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> by_op_;
};

/// The tables in kernels/tuned/.
std::span<const RungTable> committed_rung_tables();

/// Of `tables` that of this very device, else the first for its capability; null where there is none. `device` is empty
/// where only the capability is known.
const RungTable* table_for(std::span<const RungTable> tables, std::string_view device, int capability);

/// The rung for a call on the GPU of that name: what was measured there, else the op's own choice, else the last that
/// can; -1 where none can. The committed tables are asked; pick_rung() in catalogue.h does the same without a name.
int pick_rung(const Op& op, const Problem& problem, int capability, std::string_view device);
/// The same by other tables.
int pick_rung(const Op& op, const Problem& problem, int capability, std::string_view device,
              std::span<const RungTable> tables);

}  // namespace weft
