// SPDX-License-Identifier: Apache-2.0
// What the Hamming kernels of the GPU share: a warp walks a chunk of the database 32 rows at a
// time, in order, with a few queries in registers. Counts per chunk, added up over the chunks, tell
// every row its place before it is written, so that answers come out in order without a sort.
#pragma once
#include <algorithm>
#include <type_traits>

#include "kernels/core/device.cuh"
#include "kernels/core/workspace.h"

namespace hh::gpu {

constexpr int kScanWarps = 4, kScanThreads = kScanWarps * kWarpSize;
constexpr int kScanQueries = 4;               // per warp
constexpr std::int64_t kRowsPerChunk = 4096;  // at least; a guess
constexpr int kMostChunks = 64;
constexpr std::size_t kCountBytes = std::size_t{64} << 20;  // of the counts of one round of queries

/// Queries and database, as the Args structs have them.
struct ScanInput {
  const std::uint64_t* queries;
  const std::uint64_t* database;
  const std::uint64_t* allowed;
  std::int64_t query_count, row_count;
  int words;
};

inline int scan_chunks(std::int64_t rows) {
  return int(std::clamp<std::int64_t>(ceil_div(rows, kRowsPerChunk), 1, kMostChunks));
}

/// Queries whose counts, `counts` per chunk, fit the workspace at once.
inline std::int64_t queries_per_round(std::int64_t rows, std::int64_t queries,
                                      std::int64_t counts) {
  const auto bytes = std::size_t(scan_chunks(rows)) * std::size_t(counts) * sizeof(std::uint32_t);
  return std::clamp<std::int64_t>(std::int64_t(kCountBytes / bytes), 1,
                                  std::max<std::int64_t>(queries, 1));
}

/// The sum over this lane and those below.
template <class Count>
__device__ Count warp_prefix(Count v) {
  const int lane = int(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int step = 1; step < kWarpSize; step *= 2) {
    const Count below = __shfl_up_sync(kFullMask, v, unsigned(step));
    if (lane >= step) v += below;
  }
  return v;
}

/// Calls f(row, distances) for the rows of a chunk, all lanes together: distances[i] of query
/// first + i, or -1 for a row that is not there or not allowed, or a query that isn't.
template <int kWords, class F>
__device__ void scan_chunk(const ScanInput& in, std::int64_t first, std::int64_t chunk,
                           std::int64_t chunks, const F& f) {
  std::uint64_t query[kScanQueries][kWords];
#pragma unroll
  for (int i = 0; i < kScanQueries; ++i) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const bool there = first + i < in.query_count && w < in.words;
      query[i][w] = there ? in.queries[(first + i) * in.words + w] : 0;
    }
  }
  const int lane = int(threadIdx.x) % kWarpSize;
  const std::int64_t begin = in.row_count * chunk / chunks,
                     end = in.row_count * (chunk + 1) / chunks;
  for (std::int64_t base = begin; base < end; base += kWarpSize) {
    const std::int64_t row = base + lane;
    bool there = row < end;
    if (there && in.allowed != nullptr) there = (in.allowed[row / 64] >> (row % 64) & 1) != 0;
    int distances[kScanQueries] = {};
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const std::uint64_t word = there && w < in.words ? in.database[row * in.words + w] : 0;
#pragma unroll
      for (int i = 0; i < kScanQueries; ++i) distances[i] += __popcll(query[i][w] ^ word);
    }
#pragma unroll
    for (int i = 0; i < kScanQueries; ++i) {
      if (!there || first + i >= in.query_count) distances[i] = -1;
    }
    f(row, distances);
  }
}

/// The first query of this warp.
__device__ inline std::int64_t first_query() {
  return (std::int64_t{blockIdx.y} * kScanWarps + threadIdx.x / kWarpSize) * kScanQueries;
}

inline dim3 scan_grid(const ScanInput& in) {
  return grid_of(scan_chunks(in.row_count), ceil_div(in.query_count, kScanWarps * kScanQueries));
}

/// Shared memory of a kernel that keeps `counts` numbers for each query of a block.
inline std::size_t scan_shared(int counts) {
  return std::size_t(kScanWarps * kScanQueries) * std::size_t(counts) * sizeof(std::uint32_t);
}

/// counts[chunk, query, d] = allowed rows of the chunk at distance d.
template <int kWords>
__global__ void __launch_bounds__(kScanThreads)
    count_distances_kernel(const ScanInput in, int chunks, int distances, std::uint32_t* counts) {
  extern __shared__ std::uint32_t shared_counts[];
  std::uint32_t* const mine = shared_counts + threadIdx.x / kWarpSize * kScanQueries * distances;
  const int lane = int(threadIdx.x) % kWarpSize;
  for (int i = lane; i < kScanQueries * distances; i += kWarpSize) mine[i] = 0;
  __syncwarp();
  const std::int64_t first = first_query();
  scan_chunk<kWords>(in, first, blockIdx.x, chunks, [&](std::int64_t, const int(&d)[kScanQueries]) {
#pragma unroll
    for (int i = 0; i < kScanQueries; ++i) {
      if (d[i] >= 0) atomicAdd(mine + i * distances + d[i], 1u);  // integers: any order
    }
  });
  __syncwarp();
  for (int i = lane; i < kScanQueries * distances; i += kWarpSize) {
    const std::int64_t query = first + i / distances;
    if (query < in.query_count) {
      counts[(blockIdx.x * in.query_count + query) * distances + i % distances] = mine[i];
    }
  }
}

/// Turns counts[chunk, query, d] into the number of rows of earlier chunks that are at
/// distance d, and sets totals[query, d] to all rows at that distance. One thread per query and d.
inline __global__ void sum_over_chunks_kernel(std::uint32_t* counts, int chunks, std::int64_t n,
                                              std::uint32_t* totals) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  std::uint32_t sum = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const std::uint32_t count = counts[chunk * n + i];
    counts[chunk * n + i] = sum;
    sum += count;
  }
  totals[i] = sum;
}

/// starts[query, d] = rows nearer than d.
inline __global__ void sum_over_distances_kernel(const std::uint32_t* totals, std::int64_t queries,
                                                 int distances, std::uint32_t* starts) {
  const std::int64_t q = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (q >= queries) return;
  std::uint32_t sum = 0;
  for (int d = 0; d < distances; ++d) {
    starts[q * distances + d] = sum;
    sum += totals[q * distances + d];
  }
}

/// Counts and places of one round of at most Q queries, in the workspace.
struct Places {
  std::uint32_t *counts, *totals, *starts;  // [chunks, Q, D], [Q, D], [Q, D]
  Places(Workspace& workspace, std::int64_t rows, std::int64_t queries, int distances)
      : counts(workspace.take<std::uint32_t>(scan_chunks(rows) * queries * distances)),
        totals(workspace.take<std::uint32_t>(queries * distances)),
        starts(workspace.take<std::uint32_t>(queries * distances)) {}
};

template <int kWords>
void find_places(const ScanInput& in, int distances, const Places& places, StreamHandle stream) {
  const int chunks = scan_chunks(in.row_count);
  count_distances_kernel<kWords><<<scan_grid(in), kScanThreads, scan_shared(distances), stream>>>(
      in, chunks, distances, places.counts);
  HH_CHECK_LAUNCH(stream);
  constexpr int kThreads = 128;
  const std::int64_t n = in.query_count * distances;
  sum_over_chunks_kernel<<<grid_of(ceil_div(n, kThreads)), kThreads, 0, stream>>>(
      places.counts, chunks, n, places.totals);
  HH_CHECK_LAUNCH(stream);
  sum_over_distances_kernel<<<grid_of(ceil_div(in.query_count, kThreads)), kThreads, 0, stream>>>(
      places.totals, in.query_count, distances, places.starts);
  HH_CHECK_LAUNCH(stream);
}

/// Calls f(i, row, d, place) for every row and query first + i with its place in the order (d,
/// row). `mine` is the warp's shared memory of kScanQueries * distances numbers.
template <int kWords, class F>
__device__ void scan_in_place(const ScanInput& in, int chunks, int distances,
                              const std::uint32_t* counts, const std::uint32_t* starts,
                              std::uint32_t* mine, const F& f) {
  const int lane = int(threadIdx.x) % kWarpSize;
  const std::int64_t first = first_query();
  for (int i = lane; i < kScanQueries * distances; i += kWarpSize) {
    const std::int64_t query = first + i / distances;
    if (query >= in.query_count) continue;
    const std::int64_t at = query * distances + i % distances;
    mine[i] = starts[at] + counts[blockIdx.x * in.query_count * distances + at];
  }
  __syncwarp();
  scan_chunk<kWords>(in, first, blockIdx.x, chunks,
                     [&](std::int64_t row, const int(&d)[kScanQueries]) {
#pragma unroll
                       for (int i = 0; i < kScanQueries; ++i) {
                         // Lanes at the same distance take places in the order of their rows.
                         const unsigned same = __match_any_sync(kFullMask, d[i]);
                         std::uint32_t place = 0;
                         if (d[i] >= 0)
                           place = mine[i * distances + d[i]] + __popc(same & ((1u << lane) - 1));
                         __syncwarp();
                         if (d[i] >= 0 && lane == __ffs(int(same)) - 1)
                           mine[i * distances + d[i]] += __popc(same);
                         __syncwarp();
                         f(i, row, d[i], place);
                       }
                     });
}

/// Calls run(words) with the smallest of 1, 2, 4, 8 words that holds the code, as a constant.
template <class Run>
void with_words(int words, const Run& run) {
  using std::integral_constant;
  if (words <= 1) return run(integral_constant<int, 1>());
  if (words <= 2) return run(integral_constant<int, 2>());
  if (words <= 4) return run(integral_constant<int, 4>());
  run(integral_constant<int, 8>());
}

}  // namespace hh::gpu
