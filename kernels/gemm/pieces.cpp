// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/pieces.h"

namespace hh::cpu {
namespace {

std::int64_t up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

Pieces::Pieces(std::int64_t rows, std::int64_t columns, std::int64_t k, const Grain& grain)
    : m(rows), n(columns), height(m), width(n), down(1), across(1) {
  const std::int64_t threads = num_threads();
  const std::int64_t wanted = pieces_worth(double(m) * double(n) * double(k), most_pieces());
  double least = -1;
  for (std::int64_t i = 1; i <= wanted; ++i) {
    const std::int64_t h = std::min(m, up(parts_of(m, i), grain.rows)), d = parts_of(m, h);
    const std::int64_t w =
        grain.whole_rows ? n : std::min(n, up(parts_of(n, parts_of(wanted, d)), grain.columns));
    const std::int64_t a = parts_of(n, w);
    const double piece =
        double(h) * double(w) + grain.copy_a * double(h) + grain.copy_b * double(w);
    const double time = piece * double(parts_of(d * a, threads));
    if (least >= 0 && time >= least) continue;
    least = time;
    height = h;
    width = w;
    down = d;
    across = a;
  }
}

}  // namespace hh::cpu
