// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "retrieval/metrics/metrics.h"

namespace hh::retrieval {

Interval bootstrap_interval(std::span<const double> values, int samples, double confidence,
                            std::uint64_t seed) {
  HH_PRECONDITION(!values.empty() && values.size() < (std::uint64_t{1} << 32),
                  "an interval from " << values.size() << " values");
  HH_PRECONDITION(samples >= 1, "an interval from " << samples << " samples");
  HH_REQUIRE(confidence > 0 && confidence < 1,
             "confidence = " << confidence << ": use a number between 0 and 1");
  const auto n = std::uint32_t(values.size());
  std::vector<double> means(std::size_t(samples), 0.0);
  cpu::parallel_for(samples, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      const Philox random(seed, RandomPurpose::kBootstrap, std::uint32_t(s));
      double sum = 0;
      for (std::uint32_t i = 0; i < n; i += 4) {
        const Philox::Block block = random.block(i / 4);  // word j of it is number i + j
        for (std::uint32_t j = 0; j < 4 && i + j < n; ++j) {
          sum += values[std::size_t((std::uint64_t{block.v[j]} * n) >> 32)];
        }
      }
      means[std::size_t(s)] = sum / n;
    }
  });
  std::sort(means.begin(), means.end());
  // The quantile between two order statistics, linearly.
  const auto quantile = [&](double p) {
    const double at = p * double(samples - 1);
    const auto i = std::size_t(at);
    const double above = means[std::min(i + 1, means.size() - 1)];
    return means[i] + (at - double(i)) * (above - means[i]);
  };
  return {quantile((1 - confidence) / 2), quantile((1 + confidence) / 2)};
}

}  // namespace hh::retrieval
