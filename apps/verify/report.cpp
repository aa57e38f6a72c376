// SPDX-License-Identifier: Apache-2.0
#include "apps/verify/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace hh::apps {
namespace {

double norm(std::span<const double> values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return std::sqrt(sum);
}

}  // namespace

void Report::compare(const std::string& tensor, std::span<const float> ours,
                     std::span<const double> reference, double tolerance, double l2_tolerance) {
  Check check{.tensor = tensor, .tolerance = tolerance};
  if (ours.size() != reference.size()) {
    check.max_error = INFINITY;
    check.note = fmt::format("{} values, the reference has {}", ours.size(), reference.size());
    return add(std::move(check));
  }
  double squares = 0;
  bool finite = true;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double error = std::abs(double(ours[i]) - reference[i]);
    finite = finite && std::isfinite(error);
    check.max_error = std::max(check.max_error, error);
    squares += error * error;
  }
  const double size = norm(reference);
  check.l2_error = size > 0 ? std::sqrt(squares) / size : std::sqrt(squares);
  if (!finite) check.max_error = INFINITY;
  check.pass = finite && check.max_error <= tolerance &&
               (l2_tolerance <= 0 || check.l2_error <= l2_tolerance || check.max_error == 0);
  if (!check.pass && finite && check.max_error <= tolerance) {
    check.note = fmt::format("relative l2 error above {:.1e}", l2_tolerance);
  }
  add(std::move(check));
}

void Report::compare(const std::string& tensor, double ours, double reference, double tolerance) {
  const double error = std::abs(ours - reference);
  add({.tensor = tensor,
       .max_error = error,
       .l2_error = reference != 0 ? error / std::abs(reference) : error,
       .tolerance = tolerance,
       .pass = error <= tolerance});
}

void Report::equal(const std::string& tensor, const std::string& ours,
                   const std::string& reference) {
  const bool same = ours == reference;
  add({.tensor = tensor,
       .max_error = same ? 0.0 : INFINITY,
       .l2_error = same ? 0.0 : INFINITY,
       .pass = same,
       .note = same ? "" : fmt::format("{} is not {}", ours, reference)});
}

void Report::append(const Report& other) {
  checks_.insert(checks_.end(), other.checks_.begin(), other.checks_.end());
}

bool Report::fails(const Filter& kind) const {
  return std::any_of(checks_.begin(), checks_.end(),
                     [&](const Check& check) { return !check.pass && kind(check); });
}

void Report::take_passes(const Report& again, const Filter& kind, const std::string& note) {
  for (Check& check : checks_) {
    if (check.pass || !kind(check)) continue;
    for (const Check& other : again.checks_) {
      if (other.tensor != check.tensor || !other.pass) continue;
      check = other;
      if (!note.empty()) check.note = note;
    }
  }
}

std::size_t Report::failures() const {
  return std::size_t(std::count_if(checks_.begin(), checks_.end(),
                                   [](const Check& check) { return !check.pass; }));
}

std::string Report::table(bool failures_only) const {
  std::size_t width = 6;
  for (const Check& check : checks_) width = std::max(width, check.tensor.size());
  std::string text = fmt::format("{:<{}}  {:>11}  {:>11}  {:>11}\n", "tensor", width, "max abs err",
                                 "rel l2 err", "tolerance");
  for (const Check& check : checks_) {
    if (failures_only && check.pass) continue;
    text += fmt::format("{:<{}}  {:>11.3e}  {:>11.3e}  {:>11.3e}  {}{}\n", check.tensor, width,
                        check.max_error, check.l2_error, check.tolerance,
                        check.pass ? "pass" : "FAIL", check.note.empty() ? "" : "  " + check.note);
  }
  return text +
         fmt::format("{} of {} checks passed\n", checks_.size() - failures(), checks_.size());
}

nlohmann::json Report::json() const {
  nlohmann::json rows = nlohmann::json::array();
  const auto number = [](double v) { return std::isfinite(v) ? nlohmann::json(v) : nullptr; };
  for (const Check& check : checks_) {
    rows.push_back({{"tensor", check.tensor},
                    {"max_abs_error", number(check.max_error)},
                    {"relative_l2_error", number(check.l2_error)},
                    {"tolerance", check.tolerance},
                    {"pass", check.pass},
                    {"note", check.note}});
  }
  return {{"passed", passed()}, {"checks", rows}};
}

bool GoldenTensors::contains(const std::string& key) const {
  return file_.contains(key) || file_.contains("first." + key);
}

double GoldenTensors::largest_magnitude(const std::string& key) const {
  if (!file_.contains(key)) return file_.to_doubles("stat." + key).at(2);
  double largest = 0;
  for (const double v : file_.to_doubles(key)) largest = std::max(largest, std::abs(v));
  return largest;
}

GoldenTensors::Sample GoldenTensors::sample(const std::string& key,
                                            std::span<const float> ours) const {
  if (file_.contains(key)) {
    return {std::vector<float>(ours.begin(), ours.end()), file_.to_doubles(key)};
  }
  // Samples: the first values, then every step-th, with the reference's own rule for step.
  Sample sample{{}, file_.to_doubles("first." + key)};
  const std::vector<double> strided = file_.to_doubles("strided." + key);
  const std::size_t first = std::min(sample.reference.size(), ours.size());
  sample.ours.assign(ours.begin(), ours.begin() + std::ptrdiff_t(first));
  const std::size_t wanted = std::max<std::size_t>(strided.size(), 1);
  // numel // n is the stride, n the most samples asked for; n is 16, 64 or 256 in the goldens, and
  // first holds min(n, numel) values, which is n unless the tensor is smaller.
  const std::size_t step = std::max<std::size_t>(1, ours.size() / std::max<std::size_t>(first, 1));
  for (std::size_t i = 0; i < wanted && i * step < ours.size(); ++i) {
    sample.ours.push_back(ours[i * step]);
  }
  sample.reference.insert(sample.reference.end(), strided.begin(), strided.end());
  return sample;
}

void GoldenTensors::compare(const std::string& key, std::span<const float> ours,
                            double relative_tolerance, double l2_tolerance, Report& report) const {
  if (!contains(key)) {
    report.add({.tensor = key, .max_error = INFINITY, .note = "not in the golden file"});
    return;
  }
  const double tolerance = relative_tolerance * largest_magnitude(key);
  const Sample values = sample(key, ours);
  report.compare(key, values.ours, values.reference, tolerance, l2_tolerance);
  if (!file_.contains(key)) compare_statistics(key, ours, tolerance, report);
}

void GoldenTensors::compare_statistics(const std::string& key, std::span<const float> ours,
                                       double tolerance, Report& report) const {
  const std::vector<double> statistics = file_.to_doubles("stat." + key);
  const double n = double(ours.size());
  double sum = 0, squares = 0, largest = 0;
  for (const float v : ours) {
    sum += v;
    squares += double(v) * v;
    largest = std::max(largest, std::abs(double(v)));
  }
  const double mean = sum / n, deviation = std::sqrt(std::max(0.0, squares / n - mean * mean));
  // Mean, deviation and largest magnitude move by at most the largest error of an element; the l2
  // norm, divided by sqrt(n), too.
  const std::vector<float> values{float(mean), float(deviation), float(largest),
                                  float(std::sqrt(squares / n))};
  const std::vector<double> reference{statistics.at(0), statistics.at(1), statistics.at(2),
                                      statistics.at(3) / std::sqrt(n)};
  // They are rounded to float32 to be compared, at most `largest` each.
  report.compare("stat." + key, values, reference, tolerance + 0x1p-24 * statistics.at(2));
}

}  // namespace hh::apps
