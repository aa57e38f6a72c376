// SPDX-License-Identifier: Apache-2.0
// metrics.csv of a run, read back: for its plots, for `info`.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace hh::pipeline {

class MetricsLog {
 public:
  /// Throws std::runtime_error naming the line that isn't numbers under the header's columns.
  static MetricsLog read(const std::filesystem::path& path);

  struct Column {
    std::vector<double> epochs, values;  // of the epochs that have one
  };
  /// Empty for an unknown column.
  Column column(const std::string& name) const;

 private:
  std::vector<std::string> columns_;
  std::vector<std::vector<double>> rows_;  // NaN: an empty cell
};

}  // namespace hh::pipeline
