// SPDX-License-Identifier: Apache-2.0
// What a long command tells while it runs: a bar on a terminal, a plain line now and then
// elsewhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace hh::pipeline {

/// "1 h 02 min", "3 min 20 s", "4.2 s".
std::string duration_text(double seconds);

class Progress {
 public:
  /// `what` is the label; `total` the number of images; `before` of them were done earlier and
  /// don't count for the rate. Writes to stderr.
  Progress(std::string what, std::int64_t total, std::int64_t before = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` images so far (not: in this step); `detail` stands behind the rate, as "loss 0.523".
  void update(std::int64_t done, const std::string& detail = "");
  /// Ends the line. Also done by the destructor.
  void finish();

  double seconds() const;

 private:
  void draw(const std::string& line);

  std::string what_;
  std::int64_t total_, before_, done_ = 0;
  bool terminal_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace hh::pipeline
