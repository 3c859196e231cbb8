// The swizzle of the mma.sync rungs (kernels/gemm/mma_tile.h): what its drawing promises. Shared memory serves 128
// bytes at a time from 32 banks of 4 bytes; two addresses of one request that lie in the same bank but in different
// rows of banks are served one after the other, which no result shows.
#include <doctest/doctest.h>

#include <set>

#include "kernels/gemm/mma_tile.h"

namespace weft::simt {
namespace {

/// How often a request of `addresses`, `bytes` each, goes to the fullest bank; a place read twice counts once.
int wavefronts(const std::set<int>& addresses, int bytes) {
  int most = 0;
  std::set<int> words[32];
  for (const int address : addresses)
    for (int byte = 0; byte < bytes; byte += 4) words[(address + byte) / 4 % 32].insert((address + byte) / 4);
  for (const auto& bank : words) most = std::max(most, static_cast<int>(bank.size()));
  return most;
}

template <class Tile>
void check_places() {
  std::set<int> places;
  for (int row = 0; row < Tile::kRows; ++row)
    for (int chunk = 0; chunk < Tile::kRowChunks; ++chunk) {
      const int place = Tile::offset(row, chunk);
      CHECK(place % 16 == 0);
      CHECK(place >= 0);
      CHECK(place < Tile::kBytes);
      places.insert(place);
    }
  CHECK(places.size() == static_cast<std::size_t>(Tile::kBytes / 16));  // every chunk has a place of its own
}

/// 8 neighbouring threads write 16 bytes each, as the tile is copied.
template <class Tile>
void check_copies() {
  for (int first = 0; first < Tile::kRows * Tile::kRowChunks; first += 8) {
    std::set<int> written;
    for (int thread = first; thread < first + 8; ++thread)
      written.insert(Tile::offset(thread / Tile::kRowChunks, thread % Tile::kRowChunks));
    CHECK(wavefronts(written, 16) == 1);
  }
}

/// ldmatrix reads one chunk of 8 rows at a time.
template <class Tile>
void check_pieces() {
  for (int row = 0; row < Tile::kRows; row += 8)
    for (int chunk = 0; chunk < Tile::kRowChunks; ++chunk) {
      std::set<int> read;
      for (int i = 0; i < 8; ++i) read.insert(Tile::offset(row + i, chunk));
      CHECK(wavefronts(read, 16) == 1);
    }
}

TEST_CASE("gemm: mma.sync's tiles are swizzled without a collision, in place and in banks") {
  using Bf16AlongK = MmaTile<bfloat16, 128, true>;
  using Bf16Across = MmaTile<bfloat16, 128, false>;
  using Tf32AlongK = MmaTile<float, 128, true>;
  using Tf32Across = MmaTile<float, 128, false>;
  check_places<Bf16AlongK>();
  check_places<Bf16Across>();
  check_places<Tf32AlongK>();
  check_places<Tf32Across>();
  check_copies<Bf16AlongK>();
  check_copies<Bf16Across>();
  check_copies<Tf32AlongK>();
  check_copies<Tf32Across>();
  check_pieces<Bf16AlongK>();
  check_pieces<Bf16Across>();
  check_pieces<Tf32AlongK>();
  // Lane (g, t) reads the number in row t, column g: 32 words, each in a bank of its own.
  for (int row = 0; row < Tf32Across::kRows; row += 4)
    for (int column = 0; column < Tf32Across::kWidth; column += 8) {
      std::set<int> read;
      for (int lane = 0; lane < 32; ++lane)
        read.insert(Tf32Across::offset(row + lane % 4, (column + lane / 4) / 4) + (column + lane / 4) % 4 * 4);
      CHECK(read.size() == 32);
      CHECK(wavefronts(read, 4) == 1);
    }
}

}  // namespace
}  // namespace weft::simt
