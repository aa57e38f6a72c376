// SPDX-License-Identifier: Apache-2.0
#include "engine/device/profiler.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/device/launch.h"
#include "engine/tensor/tape.h"
#include "engine/tensor/tensor.h"
#include "kernels/attention/window_attention.h"
#include "kernels/conv/conv2d.h"
#include "kernels/elementwise/add.h"
#include "kernels/layer_norm/residual_layer_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/loss/wml_loss.h"
#include "kernels/optimizer/gradient_norm.h"
#include "tests/support/device.h"
#include "tests/support/trace.h"

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
  Profiler profiler(nullptr, /*limit=*/3);
  profiler.start();
  for (int i = 0; i < 5; ++i) const ProfileRange range("\"quoted\"");
  profiler.stop();
  const auto json = nlohmann::json::parse(profiler.to_json());
  REQUIRE(json.at("otherData").at("events_dropped") == 2);
  testing::check_events_nest(json);
  int ranges = 0;
  for (const auto& event : json.at("traceEvents")) ranges += event.at("name") == "\"quoted\"";
  REQUIRE(ranges == 3);
}

TEST_CASE("kernels and copies of each device are timed where they run", "[profiler]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  const bool gpu = device != kCpu;
  const std::vector<float> ones(1000, 1.0f);
  const Tensor x = Tensor::from(std::span<const float>(ones), {1000}, device), y = x.clone();
  Profiler profiler(backend(device).timeline());
  REQUIRE((profiler.timeline() != nullptr) == gpu);
  // Twice, as the events of a GPU are used again.
  for (int step = 0; step < 2; ++step) {
    profiler.start();
    const ProfileRange range("step");
    const UseLayer layer({.layer = "sum"});
    x.copy_from(std::span<const float>(ones));
    launch(device, Add<float>{.x = x.data<float>(), .y = y.data<float>(), .n = 1000});
    profiler.settle();
    profiler.stop();
  }
  REQUIRE(y.to_host<float>() == std::vector<float>(1000, 3.0f));

  int kernels = 0, copies = 0, launches = 0;
  std::vector<Profiler::Event> ran;
  for (const Profiler::Event& e : profiler.events()) {
    const std::string_view kind = e.kind;
    if (kind == "range") continue;
    REQUIRE(e.layer == "sum");
    REQUIRE(e.end >= e.begin);
    if (kind == "launch") {
      ++launches;
      REQUIRE(e.thread != Profiler::kDevice);
      continue;
    }
    REQUIRE((e.thread == Profiler::kDevice) == gpu);
    if (kind == "kernel") {
      ++kernels;
      REQUIRE(e.name == "Add<float>");
      REQUIRE(e.work.bytes == 12000);
    } else {
      ++copies;
      REQUIRE(kind == "copy");
      REQUIRE(e.name == "copy_from_host");
      REQUIRE(e.work.bytes == 4000);
    }
    // In the order in which they were queued, one after the other.
    if (!ran.empty()) REQUIRE(e.begin >= ran.back().end);
    ran.push_back(e);
  }
  REQUIRE(kernels == 2);
  REQUIRE(copies == 2);
  REQUIRE(launches == (gpu ? 4 : 0));
  testing::check_events_nest(nlohmann::json::parse(profiler.to_json()));
}

TEST_CASE("a trace has the memory in use, and each time the device was asked for more",
          "[profiler]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  release_cached_memory(device);
  const auto before = double(memory_statistics(device).in_use);
  Profiler profiler(backend(device).timeline());
  profiler.start();
  for (int i = 0; i < 2; ++i) const Tensor t({1 << 20}, DType::u8, device);
  profiler.settle();
  profiler.stop();
  const auto json = nlohmann::json::parse(profiler.to_json());
  std::vector<double> in_use;
  int asked = 0;
  for (const auto& event : json.at("traceEvents")) {
    if (event.at("ph") == "C") {
      REQUIRE(event.at("name") == "memory of " + to_string(device));
      in_use.push_back(event.at("args").at("in use").get<double>() - before);
    }
    if (event.value("cat", "") != "allocation") continue;
    ++asked;
    REQUIRE(event.at("args").at("bytes") == 1 << 20);
  }
  REQUIRE(in_use == std::vector<double>{1 << 20, 0, 1 << 20, 0});
  REQUIRE(asked == 1);  // the second takes the block that the first gave back
}

/// A device whose spans all take a millisecond.
class FakeTimeline final : public DeviceTimeline {
 public:
  void start() override { begun = ended = 0; }
  void begin_span() override { ++begun; }
  void end_span() override { ++ended; }
  std::vector<Span> finish() override {
    std::vector<Span> spans;
    for (int i = 0; i < begun; ++i) {
      const Clock::time_point begin = origin + std::chrono::milliseconds(i);
      spans.push_back({begin, begin + std::chrono::milliseconds(1)});
    }
    return spans;
  }
  void push_range(const char* name) override { ranges.emplace_back(name), ++open; }
  void pop_range() override { --open; }

  Clock::time_point origin = Clock::now();
  int begun = 0, ended = 0, open = 0;
  std::vector<std::string> ranges;
};

TEST_CASE("a device's tools see the ranges, and its kernels are named with their layer",
          "[profiler]") {
  auto owned = std::make_unique<FakeTimeline>();
  FakeTimeline& timeline = *owned;
  Profiler profiler(std::move(owned));
  const auto stream = reinterpret_cast<StreamHandle>(&timeline);  // any that isn't the CPU's
  profiler.start();
  {
    const ProfileRange range("forward");
    const UseLayer layer({.layer = "level0.layer0"});
    const ProfileLaunch timed(stream, Add<float>{.n = 8});
  }
  REQUIRE(timeline.begun == 1);
  REQUIRE(timeline.ended == 1);
  REQUIRE(timeline.open == 0);
  REQUIRE(timeline.ranges == std::vector<std::string>{"forward", "level0.layer0 Add<float>"});
  profiler.settle();
  profiler.stop();
  const auto events = profiler.events();
  REQUIRE(events.size() == 3);
  REQUIRE(events[0].kind == std::string("launch"));
  REQUIRE(events[2].kind == std::string("kernel"));
  REQUIRE(events[2].layer == "level0.layer0");
  REQUIRE(events[2].end - events[2].begin == std::chrono::milliseconds(1));
}

TEST_CASE("the work of a call follows from its arguments", "[profiler]") {
  const Work linear = LinearForward<float>{.rows = 10, .in = 3, .out = 5}.work();
  CHECK(linear.bytes == 4 * (30 + 50 + 15));
  CHECK(linear.flops == 2 * 10 * 3 * 5);
  CHECK(!linear.half_products);
  // The weight's gradient is float32, and read as it is added to.
  const Work weight = LinearBackwardWeight<bf16>{.rows = 10, .in = 3, .out = 5}.work();
  CHECK(weight.bytes == 2 * (30 + 50) + 8 * 15);
  CHECK(weight.half_products);
  const Work conv = Conv2dForward<float>{
      .shape = {.images = 2,
                .height = 4,
                .width = 4,
                .in_channels = 3,
                .out_channels = 5,
                .kernel_h = 3,
                .kernel_w =
                    1}}.work();
  CHECK(conv.bytes == 4 * (32 * 3 + 32 * 5 + 45));
  CHECK(conv.flops == 2 * 32 * 45);
  // Scores and mix of 6 windows and heads: each 4 x 4 x 8 multiplications and additions.
  const Work attention =
      WindowAttentionForward<float>{.shape = {.windows = 3, .tokens = 4, .heads = 2, .head_dim = 8}}
          .work();
  CHECK(attention.flops == 2 * 2 * 6 * 4 * 4 * 8);
  CHECK(attention.bytes == 4 * 4 * (3 * 4 * 2 * 8));
  // What isn't asked for isn't counted.
  const float value = 0;
  float out = 0;
  ResidualLayerNormForward<float> norm{
      .residual = &value, .gamma = &value, .y = &out, .rows = 4, .cols = 8};
  CHECK(norm.work().bytes == 4 * 2 * 32);
  norm.branch = &value;
  norm.z = &out;
  norm.mean = norm.rstd = &out;
  CHECK(norm.work().bytes == 4 * 4 * 32 + 8 * 4);
  WmlLoss<f16> loss{.images = 2, .bank_rows = 100, .bits = 16};
  CHECK(loss.work().bytes == 100 * (16 * 2 + 8));
  CHECK(loss.work().flops == 2 * 2 * 100 * 16);
  loss.du = &out;
  CHECK(loss.work().flops == 4 * 2 * 100 * 16);
  CHECK(!loss.work().half_products);  // it calculates in float32
}

}  // namespace
}  // namespace hh
