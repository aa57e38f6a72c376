// SPDX-License-Identifier: Apache-2.0
#include "pipeline/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace hh::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

std::string duration_text(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto s = std::int64_t(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

Progress::Progress(std::string what, std::int64_t total, std::int64_t before)
    : what_(std::move(what)),
      total_(total),
      before_(before),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() { finish(); }

double Progress::seconds() const { return seconds_since(start_); }

void Progress::update(std::int64_t done, const std::string& detail) {
  done_ = done;
  // A terminal is redrawn ten times a second, a log file gets a line every ten seconds.
  if (seconds_since(last_) < (terminal_ ? 0.1 : 10.0)) return;
  last_ = Clock::now();
  const double rate = double(done_ - before_) / std::max(seconds(), 1e-9);
  const std::string rest = fmt::format(
      "{}/{}  {:.0f} images/s  {}{}ETA {}", done_, total_, rate, detail, detail.empty() ? "" : "  ",
      duration_text(double(total_ - done_) / std::max(rate, 1e-9)));
  if (!terminal_) return draw(fmt::format("{}  {}", what_, rest));
  constexpr int kWidth = 24;
  const int filled = total_ > 0 ? int(kWidth * done_ / total_) : kWidth;
  draw(fmt::format("{}  [{:#<{}}{:.<{}}]  {}", what_, "", filled, "", kWidth - filled, rest));
}

void Progress::draw(const std::string& line) {
  if (terminal_) {
    std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::finish() {
  if (terminal_ && drawn_) std::fprintf(stderr, "\r\x1b[K");
  drawn_ = false;
}

}  // namespace hh::pipeline
