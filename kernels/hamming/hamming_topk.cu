// Mapping   See scan.cuh: one scan counts distances per chunk of the database, a second writes the
// rows
//           whose place is below k.
// Traffic   the database is read twice per 16 queries, the second time mostly from L2.
#include "kernels/hamming/hamming_topk.h"
#include "kernels/hamming/scan.cuh"

namespace hh::gpu {
namespace {

constexpr int kFillThreads = 256;

template <int kWords>
__global__ void __launch_bounds__(kScanThreads)
    hamming_topk_kernel(const ScanInput in, int chunks, int distances, const Places places,
                        std::int64_t k, std::int64_t* rows, std::int32_t* found) {
  extern __shared__ std::uint32_t shared_counts[];
  std::uint32_t* const mine = shared_counts + threadIdx.x / kWarpSize * kScanQueries * distances;
  const std::int64_t first = first_query();
  scan_in_place<kWords>(in, chunks, distances, places.counts, places.starts, mine,
                        [&](int i, std::int64_t row, int d, std::uint32_t place) {
                          if (d < 0 || place >= k) return;
                          rows[(first + i) * k + place] = row;
                          found[(first + i) * k + place] = d;
                        });
}

__global__ void __launch_bounds__(kFillThreads)
    fill_nothing_kernel(std::int64_t n, std::int64_t* rows, std::int32_t* distances) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kFillThreads + threadIdx.x;
  if (i >= n) return;
  rows[i] = -1;
  distances[i] = -1;
}

}  // namespace

std::size_t workspace_bytes(const HammingTopk& p) {
  return Places::bytes(p.row_count, p.query_count, p.bits + 1);
}

void hamming_topk(const HammingTopk& p, StreamHandle stream) {
  p.validate();
  if (p.query_count == 0) return;
  const std::int64_t n = p.query_count * p.k;
  fill_nothing_kernel<<<unsigned(ceil_div(n, kFillThreads)), kFillThreads, 0, stream>>>(
      n, p.rows, p.distances);
  HH_CHECK_LAUNCH(stream);
  if (p.row_count == 0) return;
  const int words = ceil_div(p.bits, 64), distances = p.bits + 1;
  const std::int64_t round = queries_per_round(p.row_count, p.query_count, distances);
  for (std::int64_t first = 0; first < p.query_count; first += round) {
    const ScanInput in{.queries = p.queries + first * words,
                       .database = p.database,
                       .allowed = p.allowed,
                       .query_count = std::min(round, p.query_count - first),
                       .row_count = p.row_count,
                       .words = words};
    const Places places(p.workspace, in, distances);
    with_words(words, [&](auto count) {
      find_places<count.value>(in, distances, places, stream);
      hamming_topk_kernel<count.value>
          <<<scan_grid(in), kScanThreads, scan_shared(distances), stream>>>(
              in, scan_chunks(in.row_count), distances, places, p.k, p.rows + first * p.k,
              p.distances + first * p.k);
      HH_CHECK_LAUNCH(stream);
    });
  }
}

}  // namespace hh::gpu
