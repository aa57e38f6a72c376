// SPDX-License-Identifier: Apache-2.0
// What a long command shows while it runs: a bar on a terminal, a plain line now and then
// elsewhere.
#pragma once
#include <chrono>
#include <string>

#include "pipeline/listener.h"

namespace hh::apps {

/// "1 h 02 min", "3 min 20 s", "4.2 s".
std::string duration_text(double seconds);

/// Draws to stderr the progress of one work after another.
class ProgressBar {
 public:
  ProgressBar();
  void show(const pipeline::ProgressState& state);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(const std::string& line);

  bool terminal_, drawn_ = false;
  std::string what_;  // under way; empty: nothing
  Clock::time_point start_, last_;
};

/// Reports to stdout, warnings to the log, progress to a bar.
pipeline::Listener terminal_listener();

}  // namespace hh::apps
