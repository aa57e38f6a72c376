// SPDX-License-Identifier: Apache-2.0
#include "apps/terminal/progress_bar.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "apps/terminal/shown_text.h"
#include "apps/terminal/standard_streams.h"
#include "engine/text/log.h"

namespace hh::apps {

std::string duration_text(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto s = std::int64_t(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

std::string speed_text(double seconds, std::int64_t images) {
  return fmt::format("{} ({:.0f} images/s)", duration_text(seconds),
                     double(images) / std::max(seconds, 1e-9));
}

namespace {

bool knows_escapes() {
  const char* name = std::getenv("TERM");
  return name != nullptr && *name != '\0' && std::string_view(name) != "dumb";
}

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  constexpr int kUsual = 80;
  const char* columns = std::getenv("COLUMNS");
  const int number = columns != nullptr ? std::atoi(columns) : 0;
  return std::size_t(number > 0 ? number : kUsual);
}

}  // namespace

std::string cut_to_columns(const std::string& line, std::size_t columns) {
  std::size_t used = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto byte = static_cast<unsigned char>(line[i]);
    if ((byte & 0xC0) == 0x80) continue;  // inside a character
    used += byte >= 0xE1 ? 2 : 1;         // from U+1000 on
    if (used > columns) return line.substr(0, i);
  }
  return line;
}

ProgressBar::ProgressBar()
    : terminal_(isatty(STDERR_FILENO) == 1), redraws_(terminal_ && knows_escapes()) {}

void ProgressBar::clear() {
  if (redraws_ && drawn_) std::fprintf(stderr, "\r\x1b[K");
  drawn_ = false;
}

void ProgressBar::show(const pipeline::ProgressState& state) {
  const auto now = Clock::now();
  if (state.ended) {
    clear();
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
  if (since(last_) < (redraws_ ? 0.1 : 10.0)) return;
  last_ = now;
  const double rate = double(state.done - state.before) / std::max(since(start_), 1e-9);
  std::string rest = state.total == 0
                         ? fmt::format("{}  {:.0f} {}/s", state.done, rate, state.unit)
                         : fmt::format("{}/{}  {:.0f} {}/s{}{}", state.done, state.total, rate,
                                       state.unit, state.detail.empty() ? "" : "  ", state.detail);
  if (state.total != 0 && rate > 0) {
    rest += "  ETA " + duration_text(double(state.total - state.done) / rate);
  }
  if (state.whole >= 0) rest += ", of all " + duration_text(state.whole);
  constexpr int kWidth = 24;
  const int filled = state.total > 0 ? int(kWidth * state.done / state.total) : kWidth;
  const std::string line = shown_text(fmt::format("{}  {}", what_, rest));
  const std::string bar = state.total == 0
                              ? line
                              : shown_text(fmt::format("{}  [{:#<{}}{:.<{}}]  {}", what_, "",
                                                       filled, "", kWidth - filled, rest));
  // In the last column some terminals begin a new line already.
  const std::size_t columns = terminal_ ? terminal_columns() - 1 : std::string::npos;
  draw(cut_to_columns(redraws_ && cut_to_columns(bar, columns) == bar ? bar : line, columns));
}

void ProgressBar::draw(const std::string& line) {
  if (redraws_) {
    std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
  drawn_ = true;
}

pipeline::Listener terminal_listener() {
  const auto bar = std::make_shared<ProgressBar>();
  return {.report =
              [bar](const std::string& text) {
                bar->clear();
                print_now(shown_lines(text));
              },
          .warn =
              [bar](const std::string& text) {
                bar->clear();
                log(LogLevel::kWarning, text);
              },
          .progress = [bar](const pipeline::ProgressState& state) { bar->show(state); }};
}

}  // namespace hh::apps
