// SPDX-License-Identifier: Apache-2.0
// metrics.csv of a run, read back for its plots.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "apps/report/plot.h"

namespace hh::apps {

class MetricsLog {
 public:
  /// Throws std::runtime_error naming the line that isn't numbers under the header's columns.
  static MetricsLog read(const std::filesystem::path& path);

  /// A column over the epochs, without the epochs that lack it. Empty for an unknown column.
  Series series(const std::string& column) const;

 private:
  std::vector<std::string> columns_;
  std::vector<std::vector<double>> rows_;  // NaN: an empty cell
};

}  // namespace hh::apps
