// SPDX-License-Identifier: Apache-2.0
#include "apps/report/progress_bar.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "apps/report/shown_text.h"
#include "apps/report/standard_streams.h"

namespace hh::apps {

std::string duration_text(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto s = std::int64_t(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressBar::show(const pipeline::ProgressState& state) {
  const auto now = Clock::now();
  if (state.ended) {
    if (terminal_ && drawn_) std::fprintf(stderr, "\r\x1b[K");
    drawn_ = false;
    what_.clear();
    return;
  }
  if (state.what != what_) {
    what_ = state.what;
    start_ = last_ = now;
  }
  const auto since = [&](Clock::time_point then) {
    return std::chrono::duration<double>(now - then).count();
  };
  // A terminal is redrawn ten times a second, a log file gets a line every ten seconds.
  if (since(last_) < (terminal_ ? 0.1 : 10.0)) return;
  last_ = now;
  const double rate = double(state.done - state.before) / std::max(since(start_), 1e-9);
  const std::string rest =
      fmt::format("{}/{}  {:.0f} images/s  {}{}ETA {}", state.done, state.total, rate, state.detail,
                  state.detail.empty() ? "" : "  ",
                  duration_text(double(state.total - state.done) / std::max(rate, 1e-9)));
  if (!terminal_) return draw(shown_text(fmt::format("{}  {}", what_, rest)));
  constexpr int kWidth = 24;
  const int filled = state.total > 0 ? int(kWidth * state.done / state.total) : kWidth;
  draw(shown_text(
      fmt::format("{}  [{:#<{}}{:.<{}}]  {}", what_, "", filled, "", kWidth - filled, rest)));
}

void ProgressBar::draw(const std::string& line) {
  if (terminal_) {
    std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
  drawn_ = true;
}

pipeline::Listener terminal_listener() {
  return {.report = [](const std::string& text) { print_now(shown_lines(text)); },
          .warn = [](const std::string& text) { spdlog::warn("{}", text); },
          .progress = [bar = std::make_shared<ProgressBar>()](
                          const pipeline::ProgressState& state) { bar->show(state); }};
}

}  // namespace hh::apps
