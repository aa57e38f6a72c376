// SPDX-License-Identifier: Apache-2.0
// Mapping   See scan.cuh: one scan counts distances per chunk of the database, a second knows the
//           rank of every row and sets a bit at the ranks of relevant ones. Then a block per query
//           walks its bits: each thread a run of words, the runs joined in order.
// Traffic   codes and labels of the database are read twice and once per 16 queries.
// Numerics  float64 sums: per thread in the order of ranks, then over the threads in order.
#include "kernels/hamming/hamming_average_precision.h"
#include "kernels/hamming/scan.cuh"

namespace hh::gpu {
namespace {

constexpr int kThreads = 128;

__device__ bool share_a_class(const HammingAveragePrecision& p, std::int64_t query,
                              std::int64_t row) {
  for (int w = 0; w < p.label_words; ++w) {
    if ((p.query_labels[query * p.label_words + w] & p.row_labels[row * p.label_words + w]) != 0) {
      return true;
    }
  }
  return false;
}

/// `first_of_round`: the round's first query in p. Bits at ranks up to `ranks`.
template <int kWords>
__global__ void __launch_bounds__(kScanThreads)
    mark_relevant_kernel(const ScanInput in, const HammingAveragePrecision p,
                         std::int64_t first_of_round, int chunks, int distances,
                         const Places places, std::int64_t ranks, std::uint64_t* marks) {
  extern __shared__ std::uint32_t shared_counts[];
  std::uint32_t* const mine = shared_counts + threadIdx.x / kWarpSize * kScanQueries * distances;
  const std::int64_t first = first_query(), words = ceil_div(ranks, std::int64_t{64});
  scan_in_place<kWords>(
      in, chunks, distances, places.counts, places.starts, mine,
      [&](int i, std::int64_t row, int d, std::uint32_t place) {
        if (d < 0) return;
        const std::int64_t query = first_of_round + first + i;
        if (!share_a_class(p, query, row)) return;
        atomicAdd(p.relevant + query * distances + d, 1u);  // integers: any order
        if (place >= ranks) return;
        atomicOr(reinterpret_cast<unsigned long long*>(marks) + (first + i) * words + place / 64,
                 1ull << (place % 64));
      });
}

__global__ void __launch_bounds__(kThreads)
    average_precision_kernel(const HammingAveragePrecision p, std::int64_t first_of_round,
                             std::int64_t ranks, const std::uint64_t* marks) {
  __shared__ std::int64_t counts[kThreads];
  __shared__ double sums[kThreads];
  const std::int64_t words = ceil_div(ranks, std::int64_t{64});
  const std::int64_t query = first_of_round + blockIdx.x;
  marks += std::int64_t{blockIdx.x} * words;
  const std::int64_t begin = words * threadIdx.x / kThreads,
                     end = words * (threadIdx.x + 1) / kThreads;
  // Marks past the cut are there when the ranking goes deeper.
  const auto word = [&](std::int64_t w) {
    const std::int64_t left = p.cut - w * 64;
    if (left <= 0) return std::uint64_t{0};
    return left >= 64 ? marks[w] : marks[w] & ((std::uint64_t{1} << left) - 1);
  };
  std::int64_t count = 0;
  for (std::int64_t w = begin; w < end; ++w) count += __popcll(word(w));
  counts[threadIdx.x] = count;
  __syncthreads();
  std::int64_t before = 0;
  for (unsigned t = 0; t < threadIdx.x; ++t) before += counts[t];
  double sum = 0;
  for (std::int64_t w = begin; w < end; ++w) {
    for (std::uint64_t left = word(w); left != 0; left &= left - 1) {
      sum += double(++before) / double(w * 64 + __ffsll(static_cast<long long>(left)));
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (std::int64_t w = threadIdx.x; w < ceil_div(p.depth, std::int64_t{64}); w += kThreads) {
    const std::int64_t left = p.depth - w * 64;
    const std::uint64_t mask = left >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << left) - 1;
    p.ranking[query * ceil_div(p.depth, std::int64_t{64}) + w] = marks[w] & mask;
  }
  if (threadIdx.x != 0) return;
  double total = 0;
  std::int64_t hits = 0;
  for (int t = 0; t < kThreads; ++t) {
    total += sums[t];
    hits += counts[t];
  }
  p.hits[query] = hits;
  p.ap[query] = hits > 0 ? total / double(hits) : 0;
}

/// Ranks that are marked.
std::int64_t marked_ranks(const HammingAveragePrecision& p) { return std::max(p.cut, p.depth); }

std::int64_t round_of(const HammingAveragePrecision& p) {
  const std::int64_t mark_words = ceil_div(marked_ranks(p), std::int64_t{64});
  // Marks count as two of the counts a word, per chunk.
  return queries_per_round(p.row_count, p.query_count,
                           p.bits + 1 + 2 * ceil_div(mark_words, scan_chunks(p.row_count)));
}

/// The workspace of one round.
struct Scratch {
  Scratch(const HammingAveragePrecision& p, Workspace workspace)
      : queries(round_of(p)),
        places(workspace, p.row_count, queries, p.bits + 1),
        marks(workspace.take<std::uint64_t>(queries * ceil_div(marked_ranks(p), std::int64_t{64}))),
        bytes(workspace.bytes()) {}
  std::int64_t queries;
  Places places;
  std::uint64_t* marks;  // [queries, words of the marked ranks]
  std::size_t bytes;
};

}  // namespace

std::size_t workspace_bytes(const HammingAveragePrecision& p) {
  return Scratch(p, Workspace(nullptr)).bytes;
}

void run(const HammingAveragePrecision& p, StreamHandle stream) {
  p.validate();
  if (p.query_count == 0) return;
  const int words = ceil_div(p.bits, 64), distances = p.bits + 1;
  const std::int64_t ranks = marked_ranks(p);
  const Scratch scratch(p, Workspace(p.workspace));
  const Places& places = scratch.places;
  std::uint64_t* const marks = scratch.marks;
  HH_CUDA_CHECK(cudaMemsetAsync(
      p.relevant, 0, std::size_t(p.query_count) * std::size_t(distances) * sizeof(std::uint32_t),
      stream));
  for (std::int64_t first = 0; first < p.query_count; first += scratch.queries) {
    const ScanInput in{.queries = p.queries + first * words,
                       .database = p.database,
                       .allowed = nullptr,
                       .query_count = std::min(scratch.queries, p.query_count - first),
                       .row_count = p.row_count,
                       .words = words};
    const auto mark_bytes = std::size_t(in.query_count) *
                            std::size_t(ceil_div(ranks, std::int64_t{64})) * sizeof(std::uint64_t);
    HH_CUDA_CHECK(cudaMemsetAsync(marks, 0, mark_bytes, stream));
    with_words(words, [&](auto count) {
      find_places<count.value>(in, distances, places, stream);
      mark_relevant_kernel<count.value>
          <<<scan_grid(in), kScanThreads, scan_shared(distances), stream>>>(
              in, p, first, scan_chunks(in.row_count), distances, places, ranks, marks);
      HH_CHECK_LAUNCH(stream);
    });
    average_precision_kernel<<<grid_of(in.query_count), kThreads, 0, stream>>>(p, first, ranks,
                                                                               marks);
    HH_CHECK_LAUNCH(stream);
    HH_CUDA_CHECK(cudaMemcpyAsync(
        p.retrieved + first * distances, places.totals,
        std::size_t(in.query_count) * std::size_t(distances) * sizeof(std::uint32_t),
        cudaMemcpyDeviceToDevice, stream));
  }
}

}  // namespace hh::gpu
