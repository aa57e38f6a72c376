#include "engine/profiler.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/kernel_table.h"
#include "engine/tape.h"

namespace hh {
namespace {

TEST_CASE("ranges nest, and nothing is collected before start or after stop", "[profiler]") {
  Profiler profiler;
  { const ProfileRange before("before"); }
  profiler.start();
  {
    const ProfileRange outer("outer");
    const ProfileRange inner("inner");
  }
  profiler.stop();
  { const ProfileRange after("after"); }
  const auto events = profiler.events();
  REQUIRE(events.size() == 2);
  REQUIRE(events[0].name == "inner");
  REQUIRE(events[1].name == "outer");
  REQUIRE(events[1].begin <= events[0].begin);
  REQUIRE(events[0].begin <= events[0].end);
  REQUIRE(events[0].end <= events[1].end);
}

TEST_CASE("backward work counts for the layer that recorded it", "[profiler]") {
  Profiler profiler;
  profiler.start();
  Tape tape;
  {
    const UseLayer layer({.layer = "level0.layer1"});
    tape.record([] { const ProfileRange range("gradient"); });
  }
  tape.backward();
  profiler.stop();
  const auto events = profiler.events();
  REQUIRE(events.size() == 1);
  REQUIRE(events[0].layer == "level0.layer1");
  REQUIRE(events[0].backward);
  REQUIRE(current_layer().layer.empty());
}

TEST_CASE("launches are named after their arguments", "[profiler]") {
  REQUIRE(type_name<LinearForward<float>>() == std::string("LinearForward<float>"));
  REQUIRE(type_name<GradientNorm>() == std::string("GradientNorm"));
}

TEST_CASE("a trace is JSON, bounded, and says what was cut", "[profiler]") {
  Profiler profiler(/*limit=*/3);
  profiler.start();
  for (int i = 0; i < 5; ++i) const ProfileRange range("\"quoted\"");
  profiler.stop();
  const auto json = nlohmann::json::parse(profiler.to_json());
  REQUIRE(json.at("traceEvents").size() == 3);
  REQUIRE(json.at("otherData").at("events_dropped") == 2);
  for (const auto& event : json.at("traceEvents")) {
    REQUIRE(event.at("name") == "\"quoted\"");
    REQUIRE(event.at("ts").get<double>() >= 0);
    REQUIRE(event.at("dur").get<double>() >= 0);
  }
}

}  // namespace
}  // namespace hh
