#pragma once
// Opcodes of Python's pickles, by pickletools' names: those that core/pickle.cpp understands, and the names of the
// others for its refusals.

#include <array>
#include <string_view>
#include <utility>

namespace weft::pickle {

enum Opcode : unsigned char {
  MARK = '(',
  STOP = '.',
  BINFLOAT = 'G',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  NONE = 'N',
  BINPERSID = 'Q',
  REDUCE = 'R',
  BINUNICODE = 'X',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  APPENDS = 'e',
  BINGET = 'h',
  LONG_BINGET = 'j',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  SETITEMS = 'u',
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  EMPTY_DICT = '}',
  EMPTY_LIST = ']',
  EMPTY_TUPLE = ')',
  PROTO = 0x80,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
  SHORT_BINUNICODE = 0x8c,
  BINUNICODE8 = 0x8d,
  STACK_GLOBAL = 0x93,
  MEMOIZE = 0x94,
  FRAME = 0x95,
};

/// "NEWOBJ" for an opcode that is not understood.
inline std::string_view name_of_refused(unsigned char opcode) {
  static constexpr std::array<std::pair<unsigned char, std::string_view>, 30> kNames = {
      {{'0', "POP"},          {'1', "POP_MARK"},
       {'2', "DUP"},          {'F', "FLOAT"},
       {'I', "INT"},          {'L', "LONG"},
       {'P', "PERSID"},       {'S', "STRING"},
       {'T', "BINSTRING"},    {'U', "SHORT_BINSTRING"},
       {'V', "UNICODE"},      {'d', "DICT"},
       {'g', "GET"},          {'i', "INST"},
       {'l', "LIST"},         {'o', "OBJ"},
       {'p', "PUT"},          {0x81, "NEWOBJ"},
       {0x82, "EXT1"},        {0x83, "EXT2"},
       {0x84, "EXT4"},        {0x8b, "LONG4"},
       {0x8e, "BINBYTES8"},   {0x8f, "EMPTY_SET"},
       {0x90, "ADDITEMS"},    {0x91, "FROZENSET"},
       {0x92, "NEWOBJ_EX"},   {0x96, "BYTEARRAY8"},
       {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"}}};
  for (const auto& [known, name] : kNames) {
    if (known == opcode) {
      return name;
    }
  }
  return "of an unknown kind";
}

}  // namespace weft::pickle
