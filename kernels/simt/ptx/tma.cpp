#include "kernels/simt/ptx/tma.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/cluster.h"
#include "kernels/simt/ptx/address.h"
#include "kernels/simt/ptx/mbarrier.h"
#include "kernels/simt/ptx/shared_window.h"
#include "kernels/simt/sync.h"
#include "kernels/tensor_map.h"

namespace weft::simt {
namespace {

constexpr std::size_t kChunk = 16;

std::string at(const char* what, Site site) {
  return fmt::format("{} at {}:{}", what, site.file, site.line);
}

std::size_t row_bytes(const TensorMap& map) {
  return std::size_t{map.box[0]} * map.element_bytes;
}

std::size_t box_bytes(const TensorMap& map) {
  std::size_t bytes = row_bytes(map);
  for (int axis = 1; axis < (map.im2col ? 2 : map.rank); ++axis) bytes *= map.box[axis];
  return bytes;
}

/// PTX ISA, "im2col mode": the position that the filter is at lies within the bounding box, and the offsets within the
/// filter have 16, 8 or 5 bits each (rank 3, 4, 5). N and C begin anywhere.
void check_im2col(const TensorMap& map, const BulkCoordinates& from, const char* what, Site site) {
  const int most_offset = map.rank == 3 ? 65535 : map.rank == 4 ? 255 : 31;
  for (int axis = 1; axis < map.rank - 1; ++axis) {
    const std::int64_t last = map.extents[axis] - 1 + map.upper[axis - 1];
    if (from.at[axis] < map.lower[axis - 1] || from.at[axis] > last)
      fail(fmt::format("{}: coordinate {} is {}, not within the bounding box's {} to {}", at(what, site), axis,
                       from.at[axis], map.lower[axis - 1], last));
    if (from.filter[axis - 1] > most_offset)
      fail(fmt::format("{}: the im2col offset along axis {} is {}, not within 0 to {}", at(what, site), axis,
                       from.filter[axis - 1], most_offset));
  }
}

void check_is_map(const TensorMap& map, const char* what, Site site) {
  if (map.mark != kTensorMapMark) fail(fmt::format("{}: this is no tensor map", at(what, site)));
}

void check_map(const TensorMap& map, const BulkCoordinates& coordinates, const char* what, Site site) {
  check_is_map(map, what, site);
  if (map.rank != coordinates.rank)
    fail(fmt::format("{}: {} coordinates for a map of rank {}", at(what, site), coordinates.rank, map.rank));
  if (bool{map.im2col != 0} != coordinates.im2col)
    fail(fmt::format("{}: the map was built for the {} mode", at(what, site), map.im2col ? "im2col" : "tile"));
  if (map.im2col) check_im2col(map, coordinates, what, site);
}

/// PTX ISA, "Restriction on Tensor Copy instructions", of the direction from shared to global memory.
void check_store(const TensorMap& map, const BulkCoordinates& to, const char* what, Site site) {
  for (int axis = 0; axis < map.rank; ++axis)
    if (to.at[axis] < 0)
      fail(fmt::format("{}: coordinate {} is {}, but a store's are not negative", at(what, site), axis, to.at[axis]));
  for (int i = 0; map.im2col && i < map.rank - 2; ++i)
    if (map.lower[i] < 0 || map.upper[i] > 0)
      fail(
          fmt::format("{}: a store's bounding box must lie within the tensor, but its corners along axis {} are {} "
                      "(not negative) and {} (not positive)",
                      at(what, site), i + 1, map.lower[i], map.upper[i]));
}

/// Where the box's rows begin in the tensor: calls visit(row, start, inside) for each, `start` being the address of the
/// element with coordinate 0 along axis 0 (null where the row lies outside the tensor along another axis).
template <class Visit>
void for_each_row(const TensorMap& map, const BulkCoordinates& from, const Visit& visit) {
  std::int64_t position[5];
  for (int axis = 0; axis < map.rank; ++axis) position[axis] = from.at[axis];
  const std::size_t rows = box_bytes(map) / row_bytes(map);
  std::size_t index[5] = {};
  for (std::size_t row = 0; row < rows; ++row) {
    const unsigned char* start = map.base;
    for (int axis = 1; axis < map.rank; ++axis) {
      std::int64_t x = position[axis];
      if (map.im2col && axis < map.rank - 1) x += from.filter[axis - 1];
      if (x < 0 || x >= map.extents[axis]) {
        start = nullptr;
        break;
      }
      start += x * map.strides[axis];
    }
    visit(row, start);
    for (int axis = 1; axis < map.rank; ++axis) {  // on to the next row: the innermost axis that is not at its end
      if (map.im2col && axis == map.rank - 1) {
        ++position[axis];
        break;
      }
      position[axis] += map.element_strides[axis];
      if (map.im2col) {
        if (position[axis] <= map.extents[axis] - 1 + map.upper[axis - 1]) break;
        position[axis] = map.lower[axis - 1];
      } else {
        if (++index[axis] < map.box[axis]) break;
        index[axis] = 0;
        position[axis] = from.at[axis];
      }
    }
  }
}

/// PTX ISA, "Swizzling Modes": within the span of 32, 64 or 128 bytes, the index of a 16-byte chunk is XORed with that
/// of the 128-byte line, both taken from the address itself. Returns what is to be added to the address.
std::ptrdiff_t swizzled(std::uint32_t address, Swizzle swizzle) {
  const std::uint32_t mask = (1u << static_cast<unsigned>(swizzle)) - 1;
  const std::uint32_t moved = address ^ ((address >> 7 & mask) << 4);
  return static_cast<std::ptrdiff_t>(moved) - static_cast<std::ptrdiff_t>(address);
}

/// The 16-byte chunks of a box: calls visit(offset within the box in shared memory, global address of the chunk's first
/// element or null, the elements of it that lie inside, as [first, last)).
template <class Visit>
void for_each_chunk(const TensorMap& map, const BulkCoordinates& from, std::uint32_t address, const Visit& visit) {
  const auto per_chunk = static_cast<std::int64_t>(kChunk / map.element_bytes);
  for_each_row(map, from, [&](std::size_t row, const unsigned char* start) {
    for (std::size_t chunk = 0; chunk < row_bytes(map) / kChunk; ++chunk) {
      const std::size_t offset = row * row_bytes(map) + chunk * kChunk;
      const std::ptrdiff_t moved = swizzled(address + static_cast<std::uint32_t>(offset), map.swizzle);
      const std::int64_t x = from.at[0] + static_cast<std::int64_t>(chunk) * per_chunk;
      std::int64_t first = 0, last = 0;
      if (start) {
        first = std::clamp<std::int64_t>(-x, 0, per_chunk);
        last = std::clamp<std::int64_t>(map.extents[0] - x, first, per_chunk);
      }
      visit(offset + static_cast<std::size_t>(moved), start ? start + x * map.element_bytes : nullptr, first, last);
    }
  });
}

/// One block that a load writes to.
struct Receiver {
  SharedPiece piece;
  std::uint64_t* barrier;
};

std::vector<Receiver> receivers(void* shared, std::size_t bytes, std::size_t alignment, std::uint64_t* barrier,
                                std::optional<std::uint16_t> ranks, const char* what, Site site) {
  const SharedPiece piece = shared_piece(shared, bytes, alignment, what, site);
  check_shared(barrier, 8, 8, "mbarrier", what, site);
  if (!ranks) return {{piece, barrier}};
  Cluster& cluster = running_cluster(what, site);
  const SharedPiece barrier_piece = shared_piece(barrier, 8, 8, what, site);
  std::vector<Receiver> all;
  for (unsigned rank = 0; rank < 16; ++rank) {
    if (!(*ranks >> rank & 1)) continue;
    if (rank >= cluster.size())
      fail(fmt::format("{}: the cluster has {} blocks, so there is no block {}", at(what, site), cluster.size(), rank));
    BlockRunner* block = cluster.running(rank);
    if (!block) fail(fmt::format("{}: block {} of the cluster has not begun or has ended", at(what, site), rank));
    const SharedPiece of_barrier{block, barrier_piece.offset, 8};
    all.push_back({{block, piece.offset, bytes}, reinterpret_cast<std::uint64_t*>(of_barrier.threads())});
  }
  return all;
}

/// Starts a load that `fill` performs for one receiver.
template <class Fill>
void start_load(std::vector<Receiver> to, const Fill& fill, const char* what, Site site) {
  std::uint32_t ranks = 0;
  for (const Receiver& receiver : to) {
    check_mbarrier_for_copy(receiver.barrier, what, site);
    receiver.piece.poison();
    ranks |= 1u << receiver.piece.block->rank();
  }
  AsyncEngine& engine = block_async(what, site).engine;
  const AsyncEngine::Ticket ticket =
      engine.issue({.what = what,
                    .site = site,
                    .destination = {},
                    .perform =
                        [to = std::move(to), fill, what, site] {
                          for (const Receiver& receiver : to) {
                            fill(receiver.piece);
                            complete_transactions(receiver.barrier, receiver.piece.bytes, what, site);
                          }
                        },
                    .end = AsyncEnd::performed});
  running_cluster(what, site).flights.push_back({&engine, ticket, ranks, what, site});
}

/// Starts a store: `write` takes the bytes of the source as they were when it was read.
template <class Write>
void start_store(const SharedPiece& source, const Write& write, const char* what, Site site) {
  BlockAsync& async = block_async(what, site);
  try {
    source.block->proxy().require_fenced(source.offset, source.bytes);
  } catch (const Error& error) {
    fail(fmt::format("{}: {}", at(what, site), error.what()));
  }
  auto store = std::make_shared<BulkStore>();
  store->read = [source, bytes = &store->source] {
    if (bytes->empty()) bytes->assign(source.proxy(), source.proxy() + source.bytes);
  };
  store->what = what;
  store->site = site;
  store->ticket = async.engine.issue({.what = what,
                                      .site = site,
                                      .destination = {},
                                      .perform =
                                          [store, write] {
                                            store->read();
                                            write(store->source.data());
                                          },
                                      .end = AsyncEnd::performed});
  async.bulk_stores[running_thread()].open.push_back(store);
}

template <class T>
void add_elements(unsigned char* to, const unsigned char* from, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) {
    T sum, value;
    std::memcpy(&sum, to + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    std::memcpy(&value, from + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    sum = static_cast<T>(sum + value);
    std::memcpy(to + i * static_cast<std::int64_t>(sizeof(T)), &sum, sizeof(T));
  }
}

}  // namespace

void emulate_tensor_load(void* shared, const TensorMap& map, const BulkCoordinates& from, std::uint64_t* barrier,
                         std::optional<std::uint16_t> ranks, const char* what, Site site) {
  check_map(map, from, what, site);
  start_load(
      receivers(shared, box_bytes(map), 128, barrier, ranks, what, site),
      [map, from](const SharedPiece& to) {
        for_each_chunk(map, from, to.address(),
                       [&](std::size_t offset, const unsigned char* global, std::int64_t first, std::int64_t last) {
                         unsigned char chunk[kChunk] = {};
                         const std::int64_t bytes = map.element_bytes;
                         if (last > first)
                           std::memcpy(chunk + first * bytes, global + first * bytes,
                                       static_cast<std::size_t>((last - first) * bytes));
                         to.write(offset, chunk, kChunk);
                       });
      },
      what, site);
}

void emulate_tensor_store(const TensorMap& map, const BulkCoordinates& to, const void* shared, bool add,
                          const char* what, Site site) {
  check_map(map, to, what, site);
  check_store(map, to, what, site);
  const SharedPiece source = shared_piece(shared, box_bytes(map), 128, what, site);
  start_store(
      source,
      [map, to, add, address = source.address()](const unsigned char* from) {
        for_each_chunk(map, to, address,
                       [&](std::size_t offset, const unsigned char* at, std::int64_t first, std::int64_t last) {
                         auto* global = const_cast<unsigned char*>(at);
                         const std::int64_t bytes = map.element_bytes;
                         if (last <= first) return;
                         if (!add)
                           std::memcpy(global + first * bytes, from + offset + static_cast<std::size_t>(first * bytes),
                                       static_cast<std::size_t>((last - first) * bytes));
                         else if (map.element == TensorElement::f32)
                           add_elements<float>(global, from + offset, first, last);
                         else if (map.element == TensorElement::bf16)
                           add_elements<__nv_bfloat16>(global, from + offset, first, last);
                         else
                           add_elements<std::int32_t>(global, from + offset, first, last);
                       });
      },
      what, site);
}

void emulate_bulk_load(void* shared, const void* global, unsigned bytes, std::uint64_t* barrier, Site site) {
  constexpr const char* kWhat = "cp.async.bulk";
  check_aligned(global, 16, "global", kWhat, site);
  if (bytes % 16 != 0) fail(fmt::format("{}: {} bytes are not a multiple of 16", at(kWhat, site), bytes));
  start_load(
      receivers(shared, bytes, 16, barrier, {}, kWhat, site),
      [global, bytes](const SharedPiece& to) { to.write(0, global, bytes); }, kWhat, site);
}

void emulate_bulk_store(void* global, const void* shared, unsigned bytes, Site site) {
  constexpr const char* kWhat = "cp.async.bulk (store)";
  check_aligned(global, 16, "global", kWhat, site);
  if (bytes % 16 != 0) fail(fmt::format("{}: {} bytes are not a multiple of 16", at(kWhat, site), bytes));
  start_store(
      shared_piece(shared, bytes, 16, kWhat, site),
      [global, bytes](const unsigned char* from) { std::memcpy(global, from, bytes); }, kWhat, site);
}

void emulate_bulk_commit_group(Site site) {
  constexpr const char* kWhat = "cp.async.bulk.commit_group";
  BulkGroups& groups = block_async(kWhat, site).bulk_stores[running_thread()];
  if (!enter_site(kWhat, site)) groups.closed.push_back(std::exchange(groups.open, {}));
}

void emulate_bulk_wait_group(unsigned pending, bool read, Site site) {
  const char* what = read ? "cp.async.bulk.wait_group.read" : "cp.async.bulk.wait_group";
  BlockAsync& async = block_async(what, site);
  BulkGroups& groups = async.bulk_stores[running_thread()];
  if (enter_site(what, site)) return;
  if (read) {
    for (std::size_t i = 0; i + pending < groups.closed.size(); ++i)
      for (const auto& store : groups.closed[i]) store->read();
    return;
  }
  for (; groups.closed.size() > pending; groups.closed.pop_front())
    for (const auto& store : groups.closed.front()) async.engine.complete(store->ticket);
}

void emulate_map_prefetch(const TensorMap& map, Site site) {
  check_is_map(map, "prefetch.tensormap", site);
}

void emulate_tensor_prefetch(const TensorMap& map, const BulkCoordinates& from, const char* what, Site site) {
  check_map(map, from, what, site);
}

}  // namespace weft::simt
