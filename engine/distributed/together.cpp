// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/together.h"

#include <algorithm>
#include <exception>

namespace hh {

void together(Communicator& ranks, const std::function<void()>& work) {
  if (ranks.size() == 1) return work();
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
  const std::int64_t own = error ? 1 : 0;
  const std::vector<std::int64_t> failed = ranks.gather(std::span(&own, 1));
  const auto first = std::find(failed.begin(), failed.end(), 1) - failed.begin();
  if (first == std::ptrdiff_t(failed.size())) return;
  ranks.end_together();
  if (first == ranks.rank()) std::rethrow_exception(error);
  throw OtherRankFailed();
}

}  // namespace hh
