// SPDX-License-Identifier: Apache-2.0
// Mapping   One warp per four queries walks the whole database in order, so a row's place is the
//           number of rows found before it: no counts, no second scan.
// Traffic   the database is read once per 16 queries.
#include "kernels/hamming/hamming_radius.h"
#include "kernels/hamming/scan.cuh"

namespace hh::gpu {
namespace {

template <int kWords>
__global__ void __launch_bounds__(kScanThreads)
    hamming_radius_kernel(const ScanInput in, const HammingRadius p) {
  const int lane = int(threadIdx.x) % kWarpSize;
  const std::int64_t first = first_query();
  std::int64_t found[kScanQueries] = {};
  scan_chunk<kWords>(in, first, /*chunks=*/1, [&](std::int64_t row, const int(&d)[kScanQueries]) {
#pragma unroll
    for (int i = 0; i < kScanQueries; ++i) {
      const bool near = d[i] >= 0 && d[i] <= p.radius;
      const unsigned all = __ballot_sync(kFullMask, near);
      const std::int64_t place = found[i] + __popc(all & ((1u << lane) - 1));
      if (near && place < p.capacity) {
        p.rows[(first + i) * p.capacity + place] = row;
        p.distances[(first + i) * p.capacity + place] = d[i];
      }
      found[i] += __popc(all);
    }
  });
#pragma unroll
  for (int i = 0; i < kScanQueries; ++i) {
    if (lane == 0 && first + i < in.query_count) p.counts[first + i] = found[i];
  }
}

}  // namespace

void run(const HammingRadius& p, StreamHandle stream) {
  p.validate();
  if (p.query_count == 0) return;
  const ScanInput in{.queries = p.queries,
                     .database = p.database,
                     .allowed = p.allowed,
                     .query_count = p.query_count,
                     .row_count = p.row_count,
                     .words = ceil_div(p.bits, 64)};
  with_words(in.words, [&](auto count) {
    const dim3 grid = grid_of(1, scan_grid(in).y);
    hamming_radius_kernel<count.value><<<grid, kScanThreads, 0, stream>>>(in, p);
    HH_CHECK_LAUNCH(stream);
  });
}

}  // namespace hh::gpu
