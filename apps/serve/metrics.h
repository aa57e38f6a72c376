// SPDX-License-Identifier: Apache-2.0
// Counters of the server in Prometheus' text format 0.0.4.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace hh::apps {

class ServerMetrics {
 public:
  /// Safe from many threads.
  void observe(const std::string& route, int status, double seconds);
  /// All of them; `index_items` and `index_rows` are what the index has now.
  std::string text(std::int64_t index_items, std::int64_t index_rows) const;

 private:
  static constexpr std::array kBounds{.0005, .001, .0025, .005, .01, .025, .05, .1,
                                      .25,   .5,   1.,    2.5,  5.,  10.,  30.};
  struct Latency {
    std::array<std::uint64_t, kBounds.size() + 1> counts{};  // the last: above all bounds
    std::uint64_t count = 0;
    double sum = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::uint64_t> requests_;
  std::map<std::string, Latency> latencies_;
};

}  // namespace hh::apps
