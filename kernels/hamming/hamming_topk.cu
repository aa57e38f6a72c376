// SPDX-License-Identifier: Apache-2.0
// Mapping   1. A sample of the rows bounds each query's k-th distance from above. 2. A warp has a
//           few queries in registers and walks a chunk of the database; it counts only the rows
//           within the bound, and marks the groups of 32 rows that have any. 3. A block a query
//           adds the counts up to places. 4. A warp per query and chunk visits the marked groups,
//           and writes the rows whose place is below k.
// Traffic   the database is read once per kQueries queries, mostly from L2, and its marked groups
//           once more a query.
#include "kernels/core/workspace.h"
#include "kernels/hamming/hamming_topk.h"
#include "kernels/hamming/scan.cuh"
#include "kernels/hamming/scan_mma.cuh"
#include "kernels/hamming/topk_cut.h"

namespace hh::gpu {
namespace {

using Cut = TopkCut;
static_assert(Cut::kBlockWarps == kScanWarps && Cut::kTensorQueries == MmaQueries::kCount);
constexpr int kRunRows = int(Cut::kRunRows);
constexpr int kPlaceThreads = 1024, kSlices = kPlaceThreads / kWarpSize;
constexpr std::int64_t kNoPlace = Cut::kMostResults;

/// The workspace of one round of queries.
struct Round {
  std::uint32_t *histogram, *counts, *marks;  // [Q, D], [Q, chunks, D], [Q, runs]
  int* limits;                                // [Q]
  std::size_t bytes;
  Round(const HammingTopk& p, const Cut& cut) {
    const std::int64_t distances = p.bits + 1;
    Workspace workspace(p.workspace);
    histogram = workspace.take<std::uint32_t>(cut.queries * distances);
    counts = workspace.take<std::uint32_t>(cut.queries * distances * cut.chunks);
    marks = workspace.take<std::uint32_t>(cut.queries * cut.runs);
    limits = workspace.take<int>(cut.queries);
    bytes = workspace.bytes();
  }
};

template <int kWords>
__device__ void load_code(const std::uint64_t* codes, std::int64_t row, int words,
                          std::uint64_t (&to)[kWords]) {
  if constexpr (kWords > 1) {
    if (words == kWords && reinterpret_cast<std::uintptr_t>(codes) % 16 == 0) {
      const auto* from = reinterpret_cast<const ulonglong2*>(codes + row * kWords);
#pragma unroll
      for (int w = 0; w < kWords / 2; ++w) {
        const ulonglong2 two = from[w];
        to[2 * w] = two.x;
        to[2 * w + 1] = two.y;
      }
      return;
    }
  }
#pragma unroll
  for (int w = 0; w < kWords; ++w) to[w] = w < words ? codes[row * words + w] : 0;
}

template <int kWords>
__device__ int distance(const std::uint64_t (&a)[kWords], const std::uint64_t (&b)[kWords]) {
  int d = 0;
#pragma unroll
  for (int w = 0; w < kWords; ++w) d += __popcll(a[w] ^ b[w]);
  return d;
}

__device__ bool is_allowed(const ScanInput& in, std::int64_t row) {
  return row < in.row_count &&
         (in.allowed == nullptr || (in.allowed[row / 64] >> (row % 64) & 1) != 0);
}

/// The distance of the k-th of the rows in the histogram; where there are fewer, the largest.
__device__ int kth_distance(const std::uint32_t* histogram, int distances, std::int64_t k) {
  const int lane = int(threadIdx.x) % kWarpSize;
  std::uint32_t nearer = 0;
  for (int d = 0; d < distances; d += kWarpSize) {
    const std::uint32_t sum = nearer + warp_prefix(d + lane < distances ? histogram[d + lane] : 0u);
    const unsigned reached = __ballot_sync(kFullMask, sum >= k);
    if (reached != 0) return d + __ffs(int(reached)) - 1;
    nearer = __shfl_sync(kFullMask, sum, kWarpSize - 1);
  }
  return distances - 1;
}

/// A few queries, and how far a row may be to count.
template <int kWords, int kQueries>
struct Warp {
  std::int64_t first, chunk;  // query
  std::uint64_t query[kQueries][kWords];
  int limit[kQueries];

  __device__ explicit Warp(const ScanInput& in) {
    const std::int64_t warp = std::int64_t{blockIdx.x} * kScanWarps + threadIdx.x / kWarpSize;
    // Warps side by side have the same rows.
    const std::int64_t groups = ceil_div(in.query_count, kQueries);
    first = warp % groups * kQueries;
    chunk = warp / groups;
#pragma unroll
    for (int i = 0; i < kQueries; ++i) {
      const std::int64_t q = min(first + i, in.query_count - 1);
      load_code<kWords>(in.queries, q, in.words, query[i]);
      limit[i] = -1;
    }
  }

  /// Adds the rows of a run to `mine`; returns in marks[i] this lane's bits of query i.
  __device__ void count(const ScanInput& in, std::int64_t run, int distances, std::uint32_t* mine,
                        std::uint32_t (&marks)[kQueries]) const {
    constexpr int kBatch = kQueries == 1 ? (kWords <= 2 ? 8 : 4) : kWords == 1 ? 2 : 1;
    const std::int64_t begin = run * kRunRows + threadIdx.x % kWarpSize;
#pragma unroll 1
    for (int group = 0; group < 32; group += kBatch) {
      std::uint64_t code[kBatch][kWords];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const std::int64_t row = begin + (group + b) * kWarpSize;
        load_code<kWords>(in.database, min(row, in.row_count - 1), in.words, code[b]);
      }
      int d[kBatch][kQueries];
      bool any = false;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
#pragma unroll
        for (int i = 0; i < kQueries; ++i) {
          d[b][i] = distance<kWords>(query[i], code[b]);
          any |= d[b][i] <= limit[i];
        }
      }
      if (!any) continue;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (!is_allowed(in, begin + (group + b) * kWarpSize)) continue;
#pragma unroll
        for (int i = 0; i < kQueries; ++i) {
          if (d[b][i] > limit[i]) continue;
          atomicAdd(mine + i * distances + d[b][i], 1u);  // integers: any order
          marks[i] |= 1u << (group + b);
        }
      }
    }
  }
};

/// The counts of a warp, or all that the block's warps share.
template <int kQueries>
__device__ std::uint32_t* clear_counts(int distances, bool of_block = false) {
  extern __shared__ std::uint32_t shared_counts[];
  if (of_block) {
    for (int i = int(threadIdx.x); i < kQueries * distances; i += kScanThreads) {
      shared_counts[i] = 0;
    }
    __syncthreads();
    return shared_counts;
  }
  std::uint32_t* const mine = shared_counts + threadIdx.x / kWarpSize * kQueries * distances;
  for (int i = int(threadIdx.x) % kWarpSize; i < kQueries * distances; i += kWarpSize) mine[i] = 0;
  __syncwarp();
  return mine;
}

/// Adds sampled runs, evenly spaced, to the histogram; a warp has one run.
template <int kWords, int kQueries>
__global__ void __launch_bounds__(kScanThreads)
    sample_kernel(const ScanInput in, const Cut cut, int distances, std::uint32_t* histogram) {
  Warp<kWords, kQueries> warp(in);
  if (warp.chunk >= cut.samples) return;  // a warp leaves whole
#pragma unroll
  for (int i = 0; i < kQueries; ++i) {
    if (warp.first + i < in.query_count) warp.limit[i] = distances - 1;
  }
  std::uint32_t* const mine = clear_counts<kQueries>(distances);
  std::uint32_t marks[kQueries] = {};
  warp.count(in, cut.runs * warp.chunk / cut.samples, distances, mine, marks);
  __syncwarp();
  for (int i = int(threadIdx.x) % kWarpSize; i < kQueries * distances; i += kWarpSize) {
    if (mine[i] != 0) atomicAdd(histogram + warp.first * distances + i, mine[i]);
  }
}

/// counts[query, chunk, d] for d up to the bound, and marks. A chunk is a warp's, or if there is one
/// query the block's: then fewer of them have to be added up.
template <int kWords, int kQueries>
__global__ void __launch_bounds__(kScanThreads)
    count_kernel(const ScanInput in, const Cut cut, int distances, std::int64_t k,
                 const Round round) {
  constexpr bool kOfBlock = kQueries == 1;
  const int lane = int(threadIdx.x) % kWarpSize;
  Warp<kWords, kQueries> warp(in);
  if (kOfBlock) warp.chunk = blockIdx.x;
  if (warp.chunk >= cut.chunks) return;  // a warp, or the block, leaves whole
#pragma unroll
  for (int i = 0; i < kQueries; ++i) {
    if (warp.first + i >= in.query_count) break;
    warp.limit[i] = kth_distance(round.histogram + (warp.first + i) * distances, distances, k);
  }
  std::uint32_t* const mine = clear_counts<kQueries>(distances, kOfBlock);
  std::int64_t begin = warp.chunk * cut.runs_per_chunk,
               end = min(begin + cut.runs_per_chunk, cut.runs);
  if (kOfBlock) {
    const std::int64_t runs = end - begin, w = threadIdx.x / kWarpSize;
    end = begin + runs * (w + 1) / kScanWarps;
    begin += runs * w / kScanWarps;
  }
  for (std::int64_t run = begin; run < end; ++run) {
    std::uint32_t marks[kQueries] = {};
    warp.count(in, run, distances, mine, marks);
#pragma unroll
    for (int i = 0; i < kQueries; ++i) {
      const std::uint32_t all = __reduce_or_sync(kFullMask, marks[i]);
      if (lane == 0 && warp.first + i < in.query_count) {
        round.marks[(warp.first + i) * cut.runs + run] = all;
      }
    }
  }
  if (kOfBlock) {
    __syncthreads();
    if (threadIdx.x >= kWarpSize) return;
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kQueries; ++i) {
    std::uint32_t* const to =
        round.counts + ((warp.first + i) * cut.chunks + warp.chunk) * distances;
    for (int d = lane; d <= warp.limit[i]; d += kWarpSize) to[d] = mine[i * distances + d];
  }
}

/// The same by tensor cores: a block has a chunk and 64 queries, its warps take turns at the runs.
__global__ void __launch_bounds__(kScanThreads, 4)  // blocks: for five, ptxas would spill
    count_mma_kernel(const ScanInput in, const Cut cut, int distances, std::int64_t k,
                     const Round round) {
  constexpr int kQueries = MmaQueries::kCount;
  extern __shared__ std::uint32_t shared_counts[];  // [kQueries, distances]
  __shared__ int limits[kQueries], ends[kQueries];  // ends: of the counts up to the limit
  __shared__ std::uint32_t marks_of_warps[kScanWarps][kQueries];
  const int lane = int(threadIdx.x) % kWarpSize, warp = int(threadIdx.x) / kWarpSize;
  const std::int64_t groups = ceil_div(in.query_count, std::int64_t{kQueries});
  const std::int64_t first = blockIdx.x % groups * kQueries, chunk = blockIdx.x / groups;
  std::uint32_t* const marks = marks_of_warps[warp];
  for (int q = warp; q < kQueries; q += kScanWarps) {
    int limit = -1;
    if (first + q < in.query_count) {
      limit = kth_distance(round.histogram + (first + q) * distances, distances, k);
    }
    if (lane == 0) {
      limits[q] = limit;
      ends[q] = q * distances + limit;
    }
  }
  for (int i = int(threadIdx.x); i < kQueries * distances; i += kScanThreads) shared_counts[i] = 0;
  for (int q = lane; q < kQueries; q += kWarpSize) marks[q] = 0;
  __syncthreads();
  const MmaQueries queries(in, first, limits);
  const auto* const quarters = reinterpret_cast<const std::uint16_t*>(in.database) + lane % 4;
  const std::int64_t begin = chunk * cut.runs_per_chunk,
                     end = min(begin + cut.runs_per_chunk, cut.runs);
  for (std::int64_t run = begin + warp; run < end; run += kScanWarps) {
    const std::int64_t base = run * kRunRows;
    const int rows = int(min(in.row_count - base, std::int64_t{kRunRows}));
    const bool all = in.allowed == nullptr && rows == kRunRows;
    const std::uint16_t* const from = quarters + base * 4;
#pragma unroll 1
    for (int group = 0; group < 32; ++group) {
      unsigned bits[4];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        bits[n] = from[min(group * kWarpSize + 8 * n + lane / 4, rows - 1) * 4];
      }
      const std::uint32_t mark = 1u << group;
      queries.scan(bits, [&](int query, int row, int left) {
        if (!all && !is_allowed(in, base + group * kWarpSize + row)) return;
        atomicAdd(shared_counts + (ends[query] - left), 1u);  // integers: any order
        atomicOr(marks + query, mark);
      });
    }
    __syncwarp();
    for (int q = lane; q < kQueries; q += kWarpSize) {
      if (first + q < in.query_count) round.marks[(first + q) * cut.runs + run] = marks[q];
      marks[q] = 0;
    }
    __syncwarp();
  }
  __syncthreads();
  for (int q = warp; q < kQueries && first + q < in.query_count; q += kScanWarps) {
    std::uint32_t* const to = round.counts + ((first + q) * cut.chunks + chunk) * distances;
    for (int d = lane; d <= limits[q]; d += kWarpSize) to[d] = shared_counts[q * distances + d];
  }
}

/// Turns a query's counts into the place of each chunk's first row at each distance, sets its limit
/// to the distance of the k-th row, and fills what is left of its answer with -1.
__global__ void __launch_bounds__(kPlaceThreads)
    places_kernel(const Cut cut, int distances, std::int64_t k, const Round round,
                  std::int64_t* rows, std::int32_t* found) {
  __shared__ std::uint64_t sums[kSlices][kWarpSize];
  const std::int64_t q = blockIdx.x;
  const int lane = int(threadIdx.x) % kWarpSize, slice = int(threadIdx.x) / kWarpSize;
  const std::int64_t begin = cut.chunks * slice / kSlices, end = cut.chunks * (slice + 1) / kSlices;
  std::uint32_t* const counts = round.counts + q * cut.chunks * distances;
  const int bound = kth_distance(round.histogram + q * distances, distances, k);
  std::uint64_t nearer = 0;
  int limit = 0;
  for (int first = 0; first <= bound && nearer < std::uint64_t(k); first += kWarpSize) {
    const int d = first + lane;
    std::uint64_t sum = 0;
    if (d <= bound) {
      for (std::int64_t chunk = begin; chunk < end; ++chunk) sum += counts[chunk * distances + d];
    }
    sums[slice][lane] = sum;
    __syncthreads();
    std::uint64_t before = 0, total = 0;
    for (int s = 0; s < kSlices; ++s) {
      if (s == slice) before = total;
      total += sums[s][lane];
    }
    const std::uint64_t through = nearer + warp_prefix(total), start = through - total;
    const unsigned wanted = __ballot_sync(kFullMask, d <= bound && start < std::uint64_t(k));
    limit = first + kWarpSize - 1 - __clz(int(wanted));
    std::uint64_t place = start + before;
    if (d <= limit) {
      for (std::int64_t chunk = begin; chunk < end; ++chunk) {
        const std::uint32_t count = counts[chunk * distances + d];
        counts[chunk * distances + d] = std::uint32_t(min(place, std::uint64_t(kNoPlace)));
        place += count;
      }
    }
    nearer = __shfl_sync(kFullMask, through, kWarpSize - 1);
    __syncthreads();
  }
  if (threadIdx.x == 0) round.limits[q] = limit;
  for (std::int64_t i = std::int64_t(nearer) + threadIdx.x; i < k; i += kPlaceThreads) {
    rows[q * k + i] = -1;
    found[q * k + i] = -1;
  }
}

/// A warp per query and chunk.
template <int kWords>
__global__ void __launch_bounds__(kScanThreads)
    write_kernel(const ScanInput in, const Cut cut, int distances, std::int64_t k,
                 const Round round, std::int64_t* rows, std::int32_t* found) {
  extern __shared__ std::uint32_t shared_counts[];
  std::uint32_t* const mine = shared_counts + threadIdx.x / kWarpSize * distances;
  const int lane = int(threadIdx.x) % kWarpSize;
  const std::int64_t warp = std::int64_t{blockIdx.x} * kScanWarps + threadIdx.x / kWarpSize;
  const std::int64_t q = warp % in.query_count, chunk = warp / in.query_count;
  if (chunk >= cut.chunks) return;  // a warp leaves whole
  const std::uint32_t* const places = round.counts + (q * cut.chunks + chunk) * distances;
  int limit = round.limits[q];
  for (int d = lane; d <= limit; d += kWarpSize) mine[d] = places[d];
  __syncwarp();
  if (mine[limit] >= k) --limit;  // earlier chunks have enough rows at that distance
  std::uint64_t query[kWords];
  load_code<kWords>(in.queries, q, in.words, query);
  const std::int64_t begin = chunk * cut.runs_per_chunk,
                     end = min(begin + cut.runs_per_chunk, cut.runs);
  for (std::int64_t run = begin; run < end; ++run) {
    for (std::uint32_t left = round.marks[q * cut.runs + run]; left != 0; left &= left - 1) {
      const std::int64_t row = run * kRunRows + (__ffs(int(left)) - 1) * kWarpSize + lane;
      int d = -1;
      if (is_allowed(in, row)) {
        std::uint64_t code[kWords];
        load_code<kWords>(in.database, row, in.words, code);
        d = distance<kWords>(query, code);
        if (d > limit || mine[d] >= k) d = -1;  // so that no place grows past 32 bits
      }
      if (__ballot_sync(kFullMask, d >= 0) == 0) continue;
      // Lanes at the same distance take places in the order of their rows.
      const unsigned same = __match_any_sync(kFullMask, d);
      std::uint32_t place = 0;
      if (d >= 0) place = mine[d] + __popc(same & ((1u << lane) - 1));
      __syncwarp();
      if (d >= 0 && lane == __ffs(int(same)) - 1) mine[d] += __popc(same);
      __syncwarp();
      if (d < 0 || place >= k) continue;
      rows[q * k + place] = row;
      found[q * k + place] = d;
    }
  }
}

dim3 blocks_of(std::int64_t warps) { return grid_of(ceil_div(warps, kScanWarps)); }

template <int kWords, int kQueries>
void count_rows(const ScanInput& in, const Cut& cut, int distances, std::int64_t k,
                const Round& round, StreamHandle stream) {
  const std::int64_t groups = ceil_div(in.query_count, kQueries);
  const std::size_t shared = sizeof(std::uint32_t) * kScanWarps * kQueries * std::size_t(distances);
  if (cut.samples > 0) {
    sample_kernel<kWords, kQueries>
        <<<blocks_of(cut.samples * groups), kScanThreads, shared, stream>>>(in, cut, distances,
                                                                            round.histogram);
    HH_CHECK_LAUNCH(stream);
  }
  if (cut.tensor) {
    const std::int64_t blocks =
        cut.chunks * ceil_div(in.query_count, std::int64_t{MmaQueries::kCount});
    count_mma_kernel<<<grid_of(blocks), kScanThreads,
                       sizeof(std::uint32_t) * MmaQueries::kCount * std::size_t(distances),
                       stream>>>(in, cut, distances, k, round);
  } else {
    const dim3 grid = kQueries == 1 ? grid_of(cut.chunks) : blocks_of(cut.chunks * groups);
    count_kernel<kWords, kQueries>
        <<<grid, kScanThreads, shared, stream>>>(in, cut, distances, k, round);
  }
  HH_CHECK_LAUNCH(stream);
}

}  // namespace

std::size_t workspace_bytes(const HammingTopk& p) { return Round(p, Cut(p)).bytes; }

void run(const HammingTopk& p, StreamHandle stream) {
  p.validate();
  const int words = ceil_div(p.bits, 64), distances = p.bits + 1;
  const Cut cut(p);
  const Round round(p, cut);
  for (std::int64_t first = 0; first < p.query_count; first += cut.queries) {
    const ScanInput in{.queries = p.queries + first * words,
                       .database = p.database,
                       .allowed = p.allowed,
                       .query_count = std::min(cut.queries, p.query_count - first),
                       .row_count = p.row_count,
                       .words = words};
    std::int64_t* const rows = p.rows + first * p.k;
    std::int32_t* const found = p.distances + first * p.k;
    HH_CUDA_CHECK(cudaMemsetAsync(
        round.histogram, 0,
        std::size_t(in.query_count) * std::size_t(distances) * sizeof(std::uint32_t), stream));
    with_words(words, [&](auto count) {
      constexpr int kWords = decltype(count)::value;
      if (p.row_count > 0) {
        if (p.query_count == 1) {
          count_rows<kWords, Cut::queries_of_warp(kWords, true)>(in, cut, distances, p.k, round,
                                                                 stream);
        } else {
          count_rows<kWords, Cut::queries_of_warp(kWords, false)>(in, cut, distances, p.k, round,
                                                                  stream);
        }
      }
      places_kernel<<<grid_of(in.query_count), kPlaceThreads, 0, stream>>>(cut, distances, p.k,
                                                                           round, rows, found);
      HH_CHECK_LAUNCH(stream);
      if (p.row_count == 0) return;
      write_kernel<kWords><<<blocks_of(cut.chunks * in.query_count), kScanThreads,
                             sizeof(std::uint32_t) * kScanWarps * std::size_t(distances), stream>>>(
          in, cut, distances, p.k, round, rows, found);
      HH_CHECK_LAUNCH(stream);
    });
  }
}

}  // namespace hh::gpu
