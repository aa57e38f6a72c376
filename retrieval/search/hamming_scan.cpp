// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/hamming_scan.h"

#include <algorithm>

#include "engine/device/launch.h"
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

/// By distance, keeping the order of rows within each: rows of `found` to `to`.
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

HammingScan::HammingScan(CodesView database, Device device) : database_(database), device_(device) {
  check_bits(database.bits);
  if (device != kCpu && database.count > 0) {
    copy_ = upload(database.words, database.count * database.row_words(), device);
  }
}

const std::uint64_t* HammingScan::codes() const { return copy_ ? words(copy_) : database_.words; }

TopkResult HammingScan::topk(CodesView queries, std::int64_t k, const RowMask* allowed) const {
  check_search(database_, queries, allowed);
  HH_REQUIRE(k >= 1, "k = " << k << ": ask for at least one result");
  const std::int64_t n = queries.count * k;
  TopkResult result{queries.count, k, std::vector<std::int64_t>(std::size_t(n)),
                    std::vector<std::int32_t>(std::size_t(n))};
  if (n == 0) return result;
  const Words query(queries.words, queries.count * queries.row_words(), device_);
  const Words mask(mask_words(allowed), (database_.count + 63) / 64, device_);
  HammingTopk args{.queries = query.get(), .database = codes(), .allowed = mask.get()};
  args.rows = result.rows.data();
  args.distances = result.distances.data();
  args.query_count = queries.count;
  args.row_count = database_.count;
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

RadiusResult HammingScan::radius(CodesView queries, int radius, const RowMask* allowed) const {
  check_search(database_, queries, allowed);
  HH_REQUIRE(radius >= 0, "radius = " << radius << ": a distance can't be negative");
  const Words query(queries.words, queries.count * queries.row_words(), device_);
  const Words mask(mask_words(allowed), (database_.count + 63) / 64, device_);
  HammingRadius args{.database = codes(), .allowed = mask.get()};
  args.row_count = database_.count;
  args.bits = database_.bits;
  args.radius = radius;
  RadiusResult result;
  result.offsets.push_back(0);
  // Some queries at a time, which are asked again where the first guess was too small.
  constexpr std::int64_t kBatch = 64, kFirstCapacity = 1024, kMaxEntries = 1 << 22;
  std::int64_t capacity = std::min(kFirstCapacity, database_.count);
  for (std::int64_t first = 0; first < queries.count;) {
    args.query_count = std::clamp<std::int64_t>(kMaxEntries / std::max<std::int64_t>(capacity, 1),
                                                1, std::min(kBatch, queries.count - first));
    args.queries = query.get() + first * queries.row_words();
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
      const auto at = std::size_t(q * capacity), count = std::size_t(found[std::size_t(q)]);
      const std::size_t end = result.rows.size();
      result.rows.resize(end + count);
      result.distances.resize(end + count);
      sort_by_distance(std::span(host_rows).subspan(at, count),
                       std::span(host_distances).subspan(at, count), database_.bits,
                       result.rows.data() + end, result.distances.data() + end);
      result.offsets.push_back(std::int64_t(end + count));
    }
    first += args.query_count;
  }
  return result;
}

}  // namespace hh::retrieval
