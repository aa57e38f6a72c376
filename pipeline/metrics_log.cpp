// SPDX-License-Identifier: Apache-2.0
#include "pipeline/metrics_log.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string_view>

#include "engine/files/file.h"
#include "engine/text/counted.h"

namespace hh::pipeline {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

/// The text up to `end`, which is skipped; the rest of `text` remains.
std::string_view take(std::string_view& text, char end) {
  const std::size_t length = std::min(text.find(end), text.size());
  const std::string_view part = text.substr(0, length);
  text.remove_prefix(std::min(length + 1, text.size()));
  return part;
}

std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  const auto count = std::count(line.begin(), line.end(), ',') + 1;
  for (std::ptrdiff_t i = 0; i < count; ++i) cells.emplace_back(take(line, ','));
  return cells;
}

}  // namespace

MetricsLog MetricsLog::read(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> bytes = read_file(path, kMaxBytes);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  MetricsLog log;
  log.columns_ = cells_of(take(text, '\n'));
  for (int line = 2; !text.empty(); ++line) {
    const std::vector<std::string> cells = cells_of(take(text, '\n'));
    std::vector<double> row;
    bool numbers = cells.size() == log.columns_.size();
    for (const std::string& cell : cells) {
      double value = NAN;
      const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
      numbers =
          numbers && (cell.empty() || (error == std::errc() && end == cell.data() + cell.size()));
      row.push_back(value);
    }
    if (!numbers) {
      throw std::runtime_error(path.string() + ":" + std::to_string(line) + ": wanted " +
                               counted(log.columns_.size(), "number") +
                               ": it is damaged; take out the line");
    }
    log.rows_.push_back(std::move(row));
  }
  return log;
}

MetricsLog::Column MetricsLog::column(const std::string& name) const {
  const auto at = std::size_t(std::find(columns_.begin(), columns_.end(), name) - columns_.begin());
  Column column;
  for (const std::vector<double>& row : rows_) {
    if (at >= row.size() || std::isnan(row[at])) continue;
    column.epochs.push_back(row[0]);
    column.values.push_back(row[at]);
  }
  return column;
}

}  // namespace hh::pipeline
