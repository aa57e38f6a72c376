// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/hamming_scan.h"

#include <algorithm>

#include "engine/device/launch.h"
#include "engine/text/log.h"
#include "kernels/hamming/hamming_radius.h"
#include "kernels/hamming/hamming_topk.h"

namespace hh::retrieval {
namespace {

const std::uint64_t* words(const Tensor& tensor) { return tensor.data<std::uint64_t>(); }

Tensor upload(const std::uint64_t* words, std::int64_t count, Device device) {
  Tensor tensor({count}, DType::u64, device);
  tensor.copy_from(std::span(words, std::size_t(count)));
  return tensor;
}

/// Words on the device: those of the host where it is the CPU.
class Words {
 public:
  Words(const std::uint64_t* host, std::int64_t count, Device device) : host_(host) {
    if (device != kCpu && host != nullptr && count > 0) copy_ = upload(host, count, device);
  }
  const std::uint64_t* get() const { return copy_ ? words(copy_) : host_; }

 private:
  const std::uint64_t* host_;
  Tensor copy_;
};

const std::uint64_t* mask_words(const RowMask* allowed) {
  return allowed != nullptr ? allowed->words() : nullptr;
}

/// By distance, keeping the order within each.
void sort_by_distance(std::span<const std::int64_t> rows, std::span<const std::int32_t> distances,
                      int bits, std::int64_t* to_rows, std::int32_t* to_distances) {
  std::vector<std::int64_t> next(std::size_t(bits) + 2);
  for (const std::int32_t d : distances) ++next[std::size_t(d) + 1];
  for (std::size_t d = 1; d < next.size(); ++d) next[d] += next[d - 1];
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int64_t place = next[std::size_t(distances[i])]++;
    to_rows[place] = rows[i];
    to_distances[place] = distances[i];
  }
}

/// Adds a query's rows, which are in order of rows within each distance, nearest first.
void append_sorted(std::span<const std::int64_t> rows, std::span<const std::int32_t> distances,
                   int bits, RadiusResult& to) {
  const std::size_t end = to.rows.size();
  to.rows.resize(end + rows.size());
  to.distances.resize(end + rows.size());
  sort_by_distance(rows, distances, bits, to.rows.data() + end, to.distances.data() + end);
  to.offsets.push_back(std::int64_t(to.rows.size()));
}

/// The nearest of both; the rows of `b` are counted from `first`, behind all of `a`.
TopkResult nearest_of(const TopkResult& a, const TopkResult& b, std::int64_t first) {
  TopkResult both = a;
  for (std::int64_t q = 0; q < a.queries; ++q) {
    std::size_t from_a = std::size_t(q * a.k), from_b = from_a;
    for (std::size_t to = from_a; to < std::size_t((q + 1) * a.k); ++to) {
      const bool b_has = b.rows[from_b] >= 0;
      // Of equals a's come first.
      if (a.rows[from_a] >= 0 && !(b_has && b.distances[from_b] < a.distances[from_a])) {
        both.rows[to] = a.rows[from_a];
        both.distances[to] = a.distances[from_a++];
      } else {
        both.rows[to] = b_has ? first + b.rows[from_b] : -1;
        both.distances[to] = b.distances[from_b];
        from_b += b_has;
      }
    }
  }
  return both;
}

/// The rows of both, likewise.
RadiusResult joined(const RadiusResult& a, const RadiusResult& b, std::int64_t first, int bits) {
  RadiusResult both;
  both.offsets.push_back(0);
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> distances;
  for (std::int64_t q = 0; q < a.queries(); ++q) {
    rows.assign(a.rows_of(q).begin(), a.rows_of(q).end());
    distances.assign(a.distances_of(q).begin(), a.distances_of(q).end());
    for (const std::int64_t row : b.rows_of(q)) rows.push_back(first + row);
    distances.insert(distances.end(), b.distances_of(q).begin(), b.distances_of(q).end());
    append_sorted(rows, distances, bits, both);
  }
  return both;
}

/// Throws OutOfMemory unless what a search takes fits as well.
Tensor room_for_codes(std::int64_t count, Device device) {
  Tensor room({count}, DType::u64, device);
  const std::size_t for_search =
      (std::size_t{64} << 20) + std::min(room.bytes() / 8, std::size_t{1} << 30);
  const Storage spare(for_search, device);
  return room;
}

}  // namespace

void check_search(CodesView database, CodesView queries, const RowMask* allowed) {
  HH_REQUIRE(queries.bits == database.bits,
             "queries of " << queries.bits << " bits for a database of " << database.bits
                           << "; encode both with the same model");
  HH_PRECONDITION(allowed == nullptr || allowed->rows() == database.count,
                  "a mask of " << allowed->rows() << " rows for a database of " << database.count);
}

std::span<const std::int64_t> RadiusResult::rows_of(std::int64_t query) const {
  const auto begin = std::size_t(offsets[std::size_t(query)]);
  return std::span(rows).subspan(begin, std::size_t(offsets[std::size_t(query) + 1]) - begin);
}

std::span<const std::int32_t> RadiusResult::distances_of(std::int64_t query) const {
  const auto begin = std::size_t(offsets[std::size_t(query)]);
  return std::span(distances).subspan(begin, std::size_t(offsets[std::size_t(query) + 1]) - begin);
}

HammingScan::HammingScan(CodesView database, Device device, std::int64_t most_rows)
    : database_(database), device_(device), rows_at_once_(database.count) {
  check_bits(database.bits);
  if (device == kCpu || database.count == 0) return;
  const std::int64_t words = database.row_words();
  if (most_rows < database.count) rows_at_once_ = std::max<std::int64_t>(most_rows / 64 * 64, 64);
  for (;;) {
    try {
      copy_ = room_for_codes(rows_at_once_ * words, device);
      break;
    } catch (const OutOfMemory&) {
      constexpr std::int64_t kFewest = 1 << 16;  // fewer aren't worth a launch
      if (rows_at_once_ / 2 < kFewest) throw;
      rows_at_once_ = (rows_at_once_ / 2 + 63) / 64 * 64;
    }
  }
  if (rows_at_once_ == database.count) {
    copy_.copy_from(std::span(database.words, std::size_t(database.count * words)));
    return;
  }
  turns_ = std::make_unique<std::mutex>();
  log(LogLevel::kInfo, std::to_string(database.count) + " codes are searched " +
                           std::to_string(rows_at_once_) + " at a time, as the GPU has room");
}

template <class F>
void HammingScan::for_each_piece(const std::uint64_t* allowed, const F& f) const {
  if (!turns_) {
    return f(Piece{0, database_.count, copy_ ? words(copy_) : database_.words, allowed});
  }
  const std::scoped_lock lock(*turns_);
  const std::int64_t words_of_row = database_.row_words();
  for (std::int64_t first = 0; first < database_.count; first += rows_at_once_) {
    const std::int64_t count = std::min(rows_at_once_, database_.count - first);
    // Queued behind the search of the rows that were there.
    copy_.part(0, {count * words_of_row})
        .copy_from(
            std::span(database_.words + first * words_of_row, std::size_t(count * words_of_row)));
    f(Piece{first, count, words(copy_), allowed != nullptr ? allowed + first / 64 : nullptr});
  }
}

TopkResult HammingScan::topk_of(const Piece& piece, const std::uint64_t* queries,
                                std::int64_t count, std::int64_t k) const {
  const std::int64_t n = count * k;
  TopkResult result{count, k, std::vector<std::int64_t>(std::size_t(n)),
                    std::vector<std::int32_t>(std::size_t(n))};
  HammingTopk args{.queries = queries, .database = piece.codes, .allowed = piece.allowed};
  args.rows = result.rows.data();
  args.distances = result.distances.data();
  args.query_count = count;
  args.row_count = piece.count;
  args.k = k;
  args.bits = database_.bits;
  if (device_ == kCpu) {
    launch(device_, args);
    return result;
  }
  const Tensor rows({n}, DType::i64, device_), distances({n}, DType::i32, device_);
  args.rows = rows.data<std::int64_t>();
  args.distances = distances.data<std::int32_t>();
  launch(device_, args);
  result.rows = rows.to_host<std::int64_t>();
  result.distances = distances.to_host<std::int32_t>();
  return result;
}

TopkResult HammingScan::topk(CodesView queries, std::int64_t k, const RowMask* allowed) const {
  check_search(database_, queries, allowed);
  HH_REQUIRE(k >= 1, "k = " << k << ": ask for at least one result");
  if (queries.count == 0) return {0, k, {}, {}};
  const Words query(queries.words, queries.count * queries.row_words(), device_);
  const Words mask(mask_words(allowed), (database_.count + 63) / 64, device_);
  TopkResult result;
  for_each_piece(mask.get(), [&](const Piece& piece) {
    TopkResult found = topk_of(piece, query.get(), queries.count, k);
    result = piece.first == 0 ? std::move(found) : nearest_of(result, found, piece.first);
  });
  return result;
}

RadiusResult HammingScan::radius_of(const Piece& piece, const std::uint64_t* queries,
                                    std::int64_t count, int radius) const {
  HammingRadius args{.database = piece.codes, .allowed = piece.allowed};
  args.row_count = piece.count;
  args.bits = database_.bits;
  args.radius = radius;
  RadiusResult result;
  result.offsets.push_back(0);
  // Some queries at a time, which are asked again where the first guess was too small.
  constexpr std::int64_t kBatch = 64, kFirstCapacity = 1024, kMaxEntries = 1 << 22;
  std::int64_t capacity = std::min(kFirstCapacity, piece.count);
  for (std::int64_t first = 0; first < count;) {
    args.query_count = std::clamp<std::int64_t>(kMaxEntries / std::max<std::int64_t>(capacity, 1),
                                                1, std::min(kBatch, count - first));
    args.queries = queries + first * database_.row_words();
    args.capacity = capacity;
    const std::int64_t n = args.query_count * capacity;
    const Tensor counts({args.query_count}, DType::i64, device_);
    const Tensor rows({n}, DType::i64, device_), distances({n}, DType::i32, device_);
    args.counts = counts.data<std::int64_t>();
    args.rows = rows.data<std::int64_t>();
    args.distances = distances.data<std::int32_t>();
    launch(device_, args);
    const auto found = counts.to_host<std::int64_t>();
    if (const auto most = *std::max_element(found.begin(), found.end()); most > capacity) {
      capacity = most;
      continue;
    }
    const auto host_rows = rows.to_host<std::int64_t>();
    const auto host_distances = distances.to_host<std::int32_t>();
    for (std::int64_t q = 0; q < args.query_count; ++q) {
      const auto at = std::size_t(q * capacity), entries = std::size_t(found[std::size_t(q)]);
      append_sorted(std::span(host_rows).subspan(at, entries),
                    std::span(host_distances).subspan(at, entries), database_.bits, result);
    }
    first += args.query_count;
  }
  return result;
}

RadiusResult HammingScan::radius(CodesView queries, int radius, const RowMask* allowed) const {
  check_search(database_, queries, allowed);
  HH_REQUIRE(radius >= 0, "radius = " << radius << ": a distance can't be negative");
  const Words query(queries.words, queries.count * queries.row_words(), device_);
  const Words mask(mask_words(allowed), (database_.count + 63) / 64, device_);
  RadiusResult result;
  for_each_piece(mask.get(), [&](const Piece& piece) {
    RadiusResult found = radius_of(piece, query.get(), queries.count, radius);
    result =
        piece.first == 0 ? std::move(found) : joined(result, found, piece.first, database_.bits);
  });
  return result;
}

}  // namespace hh::retrieval
