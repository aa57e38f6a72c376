// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace hh::apps {

void ServerMetrics::observe(const std::string& route, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{route, status}];
  Latency& latency = latencies_[route];
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++latency.counts[std::size_t(bound - kBounds.begin())];
  ++latency.count;
  latency.sum += seconds;
}

std::string ServerMetrics::text(std::int64_t index_items, std::int64_t index_rows) const {
  const std::lock_guard lock(mutex_);
  std::string text =
      "# HELP hybridhash_requests_total Answered requests.\n"
      "# TYPE hybridhash_requests_total counter\n";
  for (const auto& [key, count] : requests_) {
    text += fmt::format("hybridhash_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first,
                        key.second, count);
  }
  text +=
      "# HELP hybridhash_request_seconds From a request's first byte to the end of its answer.\n"
      "# TYPE hybridhash_request_seconds histogram\n";
  for (const auto& [route, latency] : latencies_) {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < kBounds.size(); ++i) {
      below += latency.counts[i];
      text += fmt::format("hybridhash_request_seconds_bucket{{route=\"{}\",le=\"{:g}\"}} {}\n",
                          route, kBounds[i], below);
    }
    text += fmt::format(
        "hybridhash_request_seconds_bucket{{route=\"{0}\",le=\"+Inf\"}} {1}\n"
        "hybridhash_request_seconds_sum{{route=\"{0}\"}} {2:.6f}\n"
        "hybridhash_request_seconds_count{{route=\"{0}\"}} {1}\n",
        route, latency.count, latency.sum);
  }
  text += fmt::format(
      "# HELP hybridhash_index_items Items that can be found.\n"
      "# TYPE hybridhash_index_items gauge\nhybridhash_index_items {}\n"
      "# HELP hybridhash_index_rows Rows of the index, deleted ones included.\n"
      "# TYPE hybridhash_index_rows gauge\nhybridhash_index_rows {}\n",
      index_items, index_rows);
  return text;
}

}  // namespace hh::apps
