#pragma once
// What the kernel tests share: draws the operands of a call, computes the truth, runs a rung on a target and compares.
// Everything here takes a Target or a catalogue and is written once for both.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/catalogue.h"
#include "kernels/targets.h"

namespace weft::test {

using Catalogue = std::span<const Op* const>;
using Values = std::vector<double>;
using Bytes = std::vector<std::byte>;

std::size_t bytes_of(DType type);
bool is_float(DType type);
const char* name_of(DType type);
/// The largest relative error of one rounding to `type`: half the distance from 1 to the next number.
double unit_roundoff(DType type);
/// The u of Op::bound for one output of a call; 0 for an integer.
double unit_of(const Op& op, const Problem& problem, const Operand& output);
/// `value` as `type` holds it: to nearest, ties to even; too large becomes infinite.
double round_to(DType type, double value);

std::size_t element_count(const Operand& operand);
Bytes encode(DType type, const Values& values);
Values decode(DType type, const Bytes& bytes);

/// The op of that name, or null.
const Op* find_op(Catalogue catalogue, const char* name);
/// The operand of that name among a signature's, by index, or -1.
int find_operand(const Signature& signature, const std::string& name);

/// True where WEFT_OPS is not set or lists `name`: "WEFT_OPS=softmax,relu" has a test look at these two alone.
bool op_selected(const char* name);

enum class Draw {
  random,    ///< as each operand's Fill says
  integers,  ///< small integers: sums and products of them are exact in every type
};

/// What the reference says of a call.
struct Truth {
  std::vector<Values> operands;    ///< outputs and in-outs as they should be afterwards
  std::vector<Values> magnitudes;  ///< what rounding is relative to; empty for an input
};

/// Values for every operand; outputs are NaN. Inputs are rounded to their operand's type where `rounded`. Same
/// arguments, same values. Fill::derived comes from the reference of the forward op (Op::gradient_of).
std::vector<Values> draw_operands(Catalogue catalogue, const Op& op, const Problem& problem, Draw draw, bool rounded);

/// Runs the reference on a copy of `operands`.
Truth evaluate(const Op& op, const Problem& problem, const std::vector<Values>& operands);

/// One device of a target.
struct Device {
  const Target& target;
  int index = 0;
};

struct Outcome {
  std::vector<Bytes> operands;          ///< as the rung left them, dense
  std::vector<std::string> complaints;  ///< written past an end or between rows, an input changed, an exception
};

/// Runs a rung: outputs and workspace poisoned before, sentinels round every buffer looked at after. `operands` are
/// dense; one with a row pitch is laid out with NaN between its rows, which must be there still afterwards.
Outcome run_rung(const Device& device, const Rung& rung, const Problem& problem, const Signature& signature,
                 const std::vector<Values>& operands);

/// Compares what a rung wrote with the truth: within `factor` times Op::bound (Rung::bound_factor), or exactly. Returns
/// at most a few lines, each with the operand, the element and both values. A NaN where none should be fails.
std::vector<std::string> compare(const Op& op, const Problem& problem, const Signature& signature, const Truth& truth,
                                 const Outcome& outcome, bool exactly, double factor = 1);

}  // namespace weft::test
