#pragma once
// The operands of one call in a device's memory, ready to be run again and again: random inputs, several sets of them
// so that a repeated run is not served from the cache, outputs that can be poisoned, in-outs that can be set back.

#include <memory>
#include <string>
#include <vector>

#include "bench/place.h"
#include "kernels/catalogue.h"

namespace weft::bench {

/// Memory of a place, freed with the object.
class Memory {
 public:
  Memory(const Place& place, std::size_t bytes);
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  const Place& place_;
  void* data_;
  std::size_t bytes_;
};

std::size_t operand_bytes(const Operand& operand);

class Call {
 public:
  /// Draws the inputs. As many sets as it takes to outgrow `cache_bytes` three times over, and at least one. What a
  /// gradient needs of its forward op (Fill::derived) that op computes on the device from the same inputs.
  Call(const Place& place, const Op& op, const Problem& problem, std::size_t cache_bytes, Stream stream);
  ~Call();

  const Op& op() const { return op_; }
  const Problem& problem() const { return problem_; }
  const Signature& signature() const { return signature_; }
  const Place& place() const { return place_; }
  int sets() const { return static_cast<int>(sets_.size()); }

  /// Pointers in the signature's order, null where an operand is left out.
  void* const* operands(int set) const;
  /// The operand of that name, of this op or of the forward op that it is the gradient of; null where there is none.
  void* find(int set, const std::string& name) const;
  /// Outputs become NaN (-1 in integers), in-outs what they were at first.
  void reset(int set) const;
  /// True where an operand is read and written: then a second run starts from other values than the first.
  bool has_inout() const;

 private:
  struct Set;
  void fill(Set& set, int index, Stream stream);
  void* fresh(Set& set, const Operand& operand, int index) const;

  const Place& place_;
  const Op& op_;
  const Op* forward_ = nullptr;
  Problem problem_;
  Signature signature_, forward_signature_;
  std::vector<std::unique_ptr<Set>> sets_;
};

}  // namespace weft::bench
