// SPDX-License-Identifier: Apache-2.0
#include "retrieval/metrics/ranker.h"

#include "engine/device/launch.h"

namespace hh::retrieval {
namespace {

std::span<const std::uint32_t> row_of(const std::vector<std::int32_t>& counts, std::int64_t query,
                                      int bits) {
  const auto* values = reinterpret_cast<const std::uint32_t*>(counts.data());
  return {values + query * (bits + 1), std::size_t(bits) + 1};
}

}  // namespace

DistanceCounts RankedBatch::counts(std::int64_t query) const {
  return {row_of(retrieved, query, bits), row_of(relevant, query, bits)};
}

std::span<const std::uint64_t> RankedBatch::ranking_of(std::int64_t query) const {
  const auto words = std::size_t(depth + 63) / 64;
  return {ranking.data() + std::size_t(query) * words, words};
}

Ranker::Ranker(const LabelledCodes& queries, const LabelledCodes& database, std::int64_t cut,
               std::int64_t depth, Device device)
    : device_(device),
      query_words_(queries.codes.row_words()),
      label_words_(queries.labels.row_words()) {
  args_.row_count = database.codes.count;
  args_.cut = cut;
  args_.depth = depth;
  args_.bits = database.codes.bits;
  args_.label_words = label_words_;
  args_.database = place(database.codes.words, database.codes.count * query_words_);
  args_.row_labels = place(database.labels.words, database.labels.count * label_words_);
  query_codes_ = place(queries.codes.words, queries.codes.count * query_words_);
  query_labels_ = place(queries.labels.words, queries.labels.count * label_words_);
}

const std::uint64_t* Ranker::place(const std::uint64_t* words, std::int64_t count) {
  if (device_ == kCpu) return words;
  Tensor tensor({count}, DType::u64, device_);
  tensor.copy_from(std::span(words, std::size_t(count)));
  copies_.push_back(tensor);
  return tensor.data<std::uint64_t>();
}

RankedBatch Ranker::rank(std::int64_t begin, std::int64_t count) const {
  const std::int64_t counts = count * (args_.bits + 1);
  const Tensor ap({count}, DType::f64, device_), hits({count}, DType::i64, device_);
  const Tensor retrieved({counts}, DType::i32, device_), relevant({counts}, DType::i32, device_);
  const Tensor ranking({count * ((args_.depth + 63) / 64)}, DType::u64, device_);
  HammingAveragePrecision args = args_;
  args.queries = query_codes_ + begin * query_words_;
  args.query_labels = query_labels_ + begin * label_words_;
  args.query_count = count;
  args.ap = ap.data<double>();
  args.hits = hits.data<std::int64_t>();
  args.retrieved = reinterpret_cast<std::uint32_t*>(retrieved.raw());
  args.relevant = reinterpret_cast<std::uint32_t*>(relevant.raw());
  args.ranking = args.depth == 0 ? nullptr : ranking.data<std::uint64_t>();
  launch(device_, args);
  return {.count = count,
          .bits = args.bits,
          .depth = args.depth,
          .ap = ap.to_host<double>(),
          .hits = hits.to_host<std::int64_t>(),
          .retrieved = retrieved.to_host<std::int32_t>(),
          .relevant = relevant.to_host<std::int32_t>(),
          .ranking = ranking.to_host<std::uint64_t>()};
}

}  // namespace hh::retrieval
