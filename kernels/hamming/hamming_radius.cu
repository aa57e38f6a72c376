// SPDX-License-Identifier: Apache-2.0
// Mapping   1. A warp has four queries in registers, walks a chunk of the database, and counts the
//           rows within the radius. 2. A warp a query adds the counts up to places. 3. The warps of
//           1. whose chunks have a row to be written walk them again, in order, so that a row's
//           place is the number of those before it.
// Traffic   the database is read once per four queries, mostly from L2, and again where rows are
//           found. The chunks are so many that the warps fill a large GPU.
#include "kernels/core/workspace.h"
#include "kernels/hamming/hamming_radius.h"
#include "kernels/hamming/scan.cuh"

namespace hh::gpu {
namespace {

// Guesses: all that an H100's multiprocessors hold, and few enough places for one warp a query.
constexpr std::int64_t kWantedWarps = 8192, kMostRadiusChunks = 4096, kLeastRows = 1024;

struct RadiusCut {
  std::int64_t groups, chunks;  // of kScanQueries queries; of rows
  explicit RadiusCut(const HammingRadius& p)
      : groups(ceil_div(p.query_count, kScanQueries)),
        chunks(std::clamp<std::int64_t>(
            std::min(ceil_div(kWantedWarps, std::max<std::int64_t>(groups, 1)),
                     ceil_div(p.row_count, kLeastRows)),
            1, kMostRadiusChunks)) {}
};

/// A warp's share. Warps side by side have the same rows.
struct RadiusWarp {
  std::int64_t first, chunk;  // query
  __device__ explicit RadiusWarp(const RadiusCut& cut) {
    const std::int64_t warp = std::int64_t{blockIdx.x} * kScanWarps + threadIdx.x / kWarpSize;
    first = warp % cut.groups * kScanQueries;
    chunk = warp / cut.groups;
  }
};

/// counts[query, chunk]: rows of the chunk within the radius.
template <int kWords>
__global__ void __launch_bounds__(kScanThreads)
    radius_counts_kernel(const ScanInput in, const RadiusCut cut, int radius,
                         std::int64_t* counts) {
  const RadiusWarp warp(cut);
  if (warp.chunk >= cut.chunks) return;  // a warp leaves whole
  std::int64_t found[kScanQueries] = {};
  scan_chunk<kWords>(in, warp.first, warp.chunk, cut.chunks,
                     [&](std::int64_t, const int(&d)[kScanQueries]) {
#pragma unroll
                       for (int i = 0; i < kScanQueries; ++i)
                         found[i] += d[i] >= 0 && d[i] <= radius;
                     });
#pragma unroll
  for (int i = 0; i < kScanQueries; ++i) {
#pragma unroll
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      found[i] += __shfl_xor_sync(kFullMask, found[i], step);
    }
    const std::int64_t query = warp.first + i;
    if (threadIdx.x % kWarpSize == 0 && query < in.query_count) {
      counts[query * cut.chunks + warp.chunk] = found[i];
    }
  }
}

/// Turns a query's counts into the rows before each chunk, the place of its first; a warp a query.
__global__ void __launch_bounds__(kWarpSize)
    radius_places_kernel(std::int64_t chunks, std::int64_t* counts, std::int64_t* totals) {
  const int lane = int(threadIdx.x);
  std::int64_t* const mine = counts + blockIdx.x * chunks;
  std::int64_t before = 0;
  for (std::int64_t first = 0; first < chunks; first += kWarpSize) {
    const std::int64_t count = first + lane < chunks ? mine[first + lane] : 0;
    const std::int64_t through = before + warp_prefix(count);
    if (first + lane < chunks) mine[first + lane] = through - count;
    before = __shfl_sync(kFullMask, through, kWarpSize - 1);
  }
  if (lane == 0) totals[blockIdx.x] = before;
}

template <int kWords>
__global__ void __launch_bounds__(kScanThreads)
    radius_rows_kernel(const ScanInput in, const RadiusCut cut, const HammingRadius p,
                       const std::int64_t* places, const std::int64_t* totals) {
  const int lane = int(threadIdx.x) % kWarpSize;
  const RadiusWarp warp(cut);
  if (warp.chunk >= cut.chunks) return;  // a warp leaves whole
  std::int64_t place[kScanQueries];
  bool any = false;
#pragma unroll
  for (int i = 0; i < kScanQueries; ++i) {
    const std::int64_t query = warp.first + i, at = query * cut.chunks + warp.chunk;
    place[i] = 0;
    if (query >= in.query_count) continue;
    place[i] = places[at];
    const std::int64_t end = warp.chunk + 1 < cut.chunks ? places[at + 1] : totals[query];
    any |= place[i] < min(end, p.capacity);
  }
  if (!any) return;
  scan_chunk<kWords>(in, warp.first, warp.chunk, cut.chunks,
                     [&](std::int64_t row, const int(&d)[kScanQueries]) {
#pragma unroll
                       for (int i = 0; i < kScanQueries; ++i) {
                         const bool near = d[i] >= 0 && d[i] <= p.radius;
                         const unsigned all = __ballot_sync(kFullMask, near);
                         const std::int64_t own = place[i] + __popc(all & ((1u << lane) - 1));
                         if (near && own < p.capacity) {
                           p.rows[(warp.first + i) * p.capacity + own] = row;
                           p.distances[(warp.first + i) * p.capacity + own] = d[i];
                         }
                         place[i] += __popc(all);
                       }
                     });
}

}  // namespace

std::size_t workspace_bytes(const HammingRadius& p) {
  return std::size_t(p.query_count * RadiusCut(p).chunks) * sizeof(std::int64_t);
}

void run(const HammingRadius& p, StreamHandle stream) {
  p.validate();
  if (p.query_count == 0) return;
  const ScanInput in{.queries = p.queries,
                     .database = p.database,
                     .allowed = p.allowed,
                     .query_count = p.query_count,
                     .row_count = p.row_count,
                     .words = ceil_div(p.bits, 64)};
  const RadiusCut cut(p);
  const dim3 grid = grid_of(ceil_div(cut.groups * cut.chunks, kScanWarps));
  auto* const counts = static_cast<std::int64_t*>(p.workspace);
  with_words(in.words, [&](auto count) {
    radius_counts_kernel<count.value><<<grid, kScanThreads, 0, stream>>>(in, cut, p.radius, counts);
    HH_CHECK_LAUNCH(stream);
    radius_places_kernel<<<grid_of(p.query_count), kWarpSize, 0, stream>>>(cut.chunks, counts,
                                                                           p.counts);
    HH_CHECK_LAUNCH(stream);
    if (p.capacity == 0) return;
    radius_rows_kernel<count.value>
        <<<grid, kScanThreads, 0, stream>>>(in, cut, p, counts, p.counts);
    HH_CHECK_LAUNCH(stream);
  });
}

}  // namespace hh::gpu
