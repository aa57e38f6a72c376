// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/gather_rows.h"

#include <algorithm>
#include <numeric>

#include "engine/ops/record.h"

namespace hh {
namespace {

/// [rows, the other extents of x].
Shape with_rows(const Tensor& x, std::int64_t rows) {
  std::vector<std::int64_t> extents = x.shape().to_vector();
  extents.front() = rows;
  return Shape(std::span<const std::int64_t>(extents));
}

/// Whether the rows lie one behind the other when each rank's take the place of `most`: only those
/// at the end are short.
bool dense(std::span<const std::int64_t> rows, std::int64_t most) {
  std::int64_t end = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (rows[r] != 0 && end != std::int64_t(r) * most) return false;
    end += rows[r];
  }
  return true;
}

}  // namespace

Tensor gather_rows(const Tensor& x, std::span<const std::int64_t> rows, Communicator& ranks) {
  const auto rank = std::ptrdiff_t(ranks.rank());
  assert(std::int64_t(rows.size()) == ranks.size() && rows[std::size_t(rank)] == x.dim(0));
  const std::int64_t most = *std::max_element(rows.begin(), rows.end());
  const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  const std::int64_t first = std::accumulate(rows.begin(), rows.begin() + rank, std::int64_t{0});
  const std::int64_t width = x.dim(0) == 0 ? with_rows(x, 1).count() : x.count() / x.dim(0);

  Tensor own = x.detached();
  if (x.dim(0) != most) {  // messages are of one size
    own = Tensor::zeros(with_rows(x, most), x.dtype(), x.device());
    own.part(0, x.shape()).copy_from(x);
  }
  const Tensor padded = like(x, with_rows(x, most * ranks.size()));
  ranks.all_gather(own.raw(), padded.raw(), own.bytes());
  Tensor all = padded.part(0, with_rows(x, total));
  if (!dense(rows, most)) {
    all = like(x, with_rows(x, total));
    std::int64_t to = 0;
    for (std::size_t r = 0; r < rows.size(); to += rows[r++]) {
      const Shape shape = with_rows(x, rows[r]);
      all.part(to * width, shape).copy_from(padded.part(std::int64_t(r) * most * width, shape));
    }
  }
  if (records({&x})) {
    all.want_gradient();
    record([from = all.gradient(), to = x.gradient(), begin = first * width, shape = x.shape()] {
      to->add(from->take().part(begin, shape).clone());
    });
  }
  return all;
}

}  // namespace hh
