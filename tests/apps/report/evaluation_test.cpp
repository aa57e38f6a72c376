// SPDX-License-Identifier: Apache-2.0
#include "apps/report/evaluation.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace hh::apps {
namespace {

using Catch::Contains;

TEST_CASE("classes without a counterpart are named in text, JSON and on the page", "[report]") {
  EvaluationReport report;
  CHECK(to_text(report).find("note:") == std::string::npos);
  CHECK(!to_json(report).contains("note"));
  report.note = "only the queries have '<bird>'";
  report.queries_only = {"<bird>"};
  CHECK_THAT(to_text(report), Contains("note: only the queries have '<bird>'\n"));
  const auto json = to_json(report);
  CHECK(json.at("note") == report.note);
  CHECK(json.at("classes_of_queries_only") == report.queries_only);
  CHECK(json.at("classes_of_database_only").empty());
  CHECK_THAT(to_html(report), Contains("&lt;bird&gt;") && !Contains("<bird>"));
}

}  // namespace
}  // namespace hh::apps
