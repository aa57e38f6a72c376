// SPDX-License-Identifier: Apache-2.0
// What every trace must satisfy.
#pragma once
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace hh::testing {

/// Events of one thread may hold each other or lie apart, but not overlap: viewers draw nonsense
/// where they do. The clock has nanoseconds, and microseconds of a double keep them.
inline void check_events_nest(const nlohmann::json& trace) {
  std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> threads;  // begin, -end
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    const double begin = event.at("ts"), duration = event.at("dur");
    REQUIRE(begin >= 0);
    REQUIRE(duration >= 0);
    threads[{event.at("pid"), event.at("tid")}].emplace_back(begin, -(begin + duration));
  }
  constexpr double kNanosecond = 1e-3;
  for (auto& [thread, events] : threads) {
    CAPTURE(thread.first, thread.second);
    std::sort(events.begin(), events.end());
    std::vector<double> open;  // ends
    for (const auto& [begin, minus_end] : events) {
      while (!open.empty() && open.back() <= begin + kNanosecond) open.pop_back();
      if (!open.empty()) REQUIRE(-minus_end <= open.back() + kNanosecond);
      open.push_back(-minus_end);
    }
  }
}

}  // namespace hh::testing
