// SPDX-License-Identifier: Apache-2.0
#include "apps/verify/report.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace hh::apps {
namespace {

std::vector<float> floats(std::initializer_list<float> values) { return values; }
std::vector<double> doubles(std::initializer_list<double> values) { return values; }

TEST_CASE("a report passes what lies within the tolerance", "[verify]") {
  Report report;
  report.compare("close", floats({1, 2}), doubles({1, 2.25}), 0.25);
  report.compare("far", floats({1, 2}), doubles({1, 2.25}), 0.24);
  report.compare("short", floats({1}), doubles({1, 2}), 10);
  report.compare("nan", floats({NAN}), doubles({1}), 10);
  report.compare("spread", floats({1.1f, 1.1f}), doubles({1, 1}), 0.2, 0.05);
  report.equal("same", "a", "a");
  report.equal("other", "a", "b");
  std::vector<bool> passes;
  for (const Check& check : report.checks()) passes.push_back(check.pass);
  CHECK(passes == std::vector<bool>{true, false, false, false, false, true, false});
  CHECK(report.failures() == 5);
  CHECK(report.checks()[0].max_error == 0.25);
  CHECK(report.checks()[0].l2_error == Approx(0.25 / std::sqrt(1 + 2.25 * 2.25)));
}

TEST_CASE("a second try only mends failed checks of its kind that pass there", "[verify]") {
  Report first, again;
  for (const char* name : {"grad.a", "grad.b", "stage.c", "grad.d"}) {
    first.compare(name, name == std::string("grad.d") ? 0 : 1, 0, 0.5);
    again.compare(name, name == std::string("grad.b") ? 1 : 0.25, 0, 0.5);
  }
  const auto gradients = [](const Check& check) { return check.tensor.starts_with("grad."); };
  CHECK(first.fails(gradients));
  first.take_passes(again, gradients, "why");
  std::vector<bool> passes;
  for (const Check& check : first.checks()) passes.push_back(check.pass);
  CHECK(passes == std::vector<bool>{true, false, false, true});
  CHECK(first.checks()[0].note == "why");
  CHECK(first.checks()[0].max_error == 0.25);
  CHECK(first.checks()[3].note.empty());
  CHECK(first.checks()[3].max_error == 0);
}

}  // namespace
}  // namespace hh::apps
