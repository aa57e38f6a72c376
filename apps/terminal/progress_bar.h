// SPDX-License-Identifier: Apache-2.0
// What a long command shows while it runs: a bar on a terminal, a plain line now and then
// elsewhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "pipeline/listener.h"

namespace hh::apps {

/// "1 h 02 min", "3 min 20 s", "4.2 s".
std::string duration_text(double seconds);

/// "4.2 s (120 images/s)": what so many images took.
std::string speed_text(double seconds, std::int64_t images);

/// The first so many columns of a line. Characters that may be two wide count as two.
std::string cut_to_columns(const std::string& line, std::size_t columns);

/// Draws to stderr the progress of one work after another. Lines are cut to the terminal's width.
/// One that knows no escape sequences (TERM is dumb or not set) gets lines, as a file does.
class ProgressBar {
 public:
  ProgressBar();
  void show(const pipeline::ProgressState& state);
  /// Takes the bar away before other text comes; the next show() draws it again.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(const std::string& line);

  bool terminal_, redraws_, drawn_ = false;
  std::string what_;  // under way; empty: nothing
  Clock::time_point start_, last_;
};

/// Reports to stdout, warnings to the log, progress to a bar.
pipeline::Listener terminal_listener();

}  // namespace hh::apps
