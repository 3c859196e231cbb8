// The choice of a rung by a table of measurements, tried with made-up ones.

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "kernels/error.h"
#include "kernels/rung_table.h"
#include "kernels/targets.h"
#include "tests/kernels/synthetic_op.h"

namespace weft::test {
namespace {

constexpr const char* kHead = "weft rung table 1\ndevice Some GPU\ncapability 90\n";

RungTable table(const std::string& lines) {
  return RungTable::parse(kHead + lines, "made-up");
}

std::string refusal(const std::string& text) {
  try {
    RungTable::parse(text, "made-up");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

Problem call(std::int64_t n, std::int64_t flag = 0) {
  return {{n, flag}, {}, DType::bf16};
}

TEST_CASE("rung table: the measured rung is taken, on its device and for its shape alone") {
  const Op op = synthetic_op();
  const RungTable tables[] = {table("synthetic bf16 n=64 plain\nsynthetic bf16 n=1024 mma\n")};
  CHECK(pick_rung(op, call(64), 90, "Some GPU", tables) == plain);
  CHECK(pick_rung(op, call(1024), 90, "Some GPU", tables) == mma);
  CHECK(pick_rung(op, call(4096), 90, "Some GPU", tables) == wgmma);   // not measured: the last that can
  CHECK(pick_rung(op, call(64), 80, "Some GPU", tables) == mma);       // another capability
  CHECK(pick_rung(op, call(64, 1), 90, "Some GPU", tables) == wgmma);  // another flag
  CHECK(pick_rung(op, call(64), 0, "", tables) == wgmma);              // simt has no table
  Problem other = call(64);
  other.dtype = DType::f32;
  CHECK(pick_rung(op, other, 90, "Some GPU", tables) == plain);  // the only one that takes it
}

TEST_CASE("rung table: a shape of the same class takes its nearest neighbour's rung") {
  const Op op = synthetic_op();
  const RungTable tables[] = {table("synthetic bf16 n=64 plain\nsynthetic bf16 n=120 mma\n")};
  CHECK(pick_rung(op, call(72), 90, "Some GPU", tables) == plain);
  CHECK(pick_rung(op, call(112), 90, "Some GPU", tables) == mma);
  CHECK(pick_rung(op, call(128), 90, "Some GPU", tables) == wgmma);  // eight binary digits: another class
  CHECK(pick_rung(op, call(56), 90, "Some GPU", tables) == wgmma);   // six
}

TEST_CASE("rung table: of two GPUs of a capability each has its own, a third takes the first") {
  const Op op = synthetic_op();
  const RungTable tables[] = {
      RungTable::parse("weft rung table 1\ndevice First\ncapability 90\nsynthetic bf16 n=64 plain\n", "1"),
      RungTable::parse("weft rung table 1\ndevice Second\ncapability 90\nsynthetic bf16 n=64 mma\n", "2")};
  CHECK(pick_rung(op, call(64), 90, "First", tables) == plain);
  CHECK(pick_rung(op, call(64), 90, "Second", tables) == mma);
  CHECK(pick_rung(op, call(64), 90, "Third", tables) == plain);
  CHECK(pick_rung(op, call(64), 90, "", tables) == plain);  // a forced capability has no name
}

TEST_CASE("rung table: what the device cannot run, or nobody knows, falls to the op's own choice") {
  Op op = synthetic_op();
  const RungTable tables[] = {table("synthetic bf16 n=63 wgmma\nsynthetic bf16 n=64 gone\nother bf16 n=64 plain\n")};
  CHECK(pick_rung(op, call(63), 90, "Some GPU", tables) == mma);  // wgmma takes multiples of 8
  CHECK(pick_rung(op, call(64), 90, "Some GPU", tables) == wgmma);
  op.choose = [](const Problem&, int) -> int { return plain; };
  CHECK(pick_rung(op, call(64), 90, "Some GPU", tables) == plain);
}

TEST_CASE("rung table: what is written is what was read") {
  const Op op = synthetic_op();
  RungTable written("Some GPU", 90);
  written.add(op, call(64, 1), "mma");
  written.add(op, call(7), "plain");
  const RungTable read = RungTable::parse(written.text(), "again");
  CHECK(read.text() == written.text());
  CHECK(read.device() == "Some GPU");
  CHECK(read.capability() == 90);
  REQUIRE(read.entries().size() == 2);
  CHECK(read.find(op, call(64, 1)) == "mma");
  CHECK(read.find(op, call(7)) == "plain");
}

TEST_CASE("rung table: a malformed one is refused with its line") {
  const std::string head = kHead;
  CHECK(refusal("") == "made-up:1: the table ends where \"weft rung table 1\" should stand");
  CHECK(refusal("weft rung table 2\n").starts_with("made-up:1: not a table of rungs"));
  CHECK(refusal("weft rung table 1\n").starts_with("made-up:2: the table ends"));
  CHECK(refusal("weft rung table 1\ngpu X\n").starts_with("made-up:2: should be \"device NAME\""));
  for (const char* capability : {"capability", "capability x", "capability 9.0", "capability 0", "capability 1000"})
    CHECK(refusal(std::string("weft rung table 1\ndevice X\n") + capability + "\n")
              .starts_with("made-up:3: should be \"capability NN\""));
  CHECK(refusal(head + "# fine\n\ngemm bf16 M=1\n").starts_with("made-up:6: should be \"OP TYPE SHAPE RUNG\""));
  CHECK(refusal(head + "gemm bf16 M=1 naive twice\n").starts_with("made-up:4: should be \"OP TYPE SHAPE RUNG\""));
  CHECK(refusal(head + "gemm f8 M=1 naive\n") == "made-up:4: there is no type \"f8\"");
  for (const char* shape : {"M", "M=", "=1", "M=1x", "M=1,,N=2", "M=1,M=2"})
    CHECK(refusal(head + "gemm f32 " + shape + " naive\n")
              .starts_with("made-up:4: \"" + std::string(shape) + "\" is no shape"));
  CHECK(refusal(head + "gemm f32 M=1,N=2 a\ngemm f32 N=2,M=1 b\n") == "made-up:5: this call is in the table twice");
}

TEST_CASE("rung table: the committed ones name ops, extents and rungs of the catalogue") {
  for (const RungTable& committed : committed_rung_tables()) {
    CAPTURE(committed.device());
    for (const RungTable::Entry& entry : committed.entries()) {
      CAPTURE(entry.op);
      CAPTURE(entry.rung);
      const Op* op = find_op(simt::target().catalogue(), entry.op.c_str());
      REQUIRE(op != nullptr);
      bool known = false;
      for (const Rung& rung : op->rungs) known |= entry.rung == rung.name;
      CHECK(known);
      const std::set<std::string> names(op->extent_names.begin(), op->extent_names.end());
      for (const auto& extent : entry.extents) CHECK(names.contains(extent.first));
    }
  }
}

}  // namespace
}  // namespace weft::test
