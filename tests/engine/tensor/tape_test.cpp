// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/tape.h"

#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/device.h"

namespace hh {
namespace {

Tensor filled(Device device, float x) {
  return Tensor::from(std::vector<float>(8, x), {8}, device);
}
float first(const Tensor& t) { return t.to_host<float>()[0]; }

/// x * x, and its derivative when a tape records: an operation for tests, computed on the host.
Tensor square(const Tensor& x, int* calls = nullptr) {
  if (calls != nullptr) ++*calls;
  std::vector<float> values = x.to_host<float>();
  for (float& v : values) v *= v;
  Tensor y = Tensor::from(values, x.shape(), x.device());
  if (Tape::current() != nullptr && x.gradient()) {
    y.want_gradient();
    Tape::current()->record([x, slot = y.gradient()] {
      const Tensor dy = slot->take();
      if (!dy) return;
      std::vector<float> dx = dy.to_host<float>();
      const std::vector<float> at = x.to_host<float>();
      for (std::size_t i = 0; i < dx.size(); ++i) dx[i] *= 2 * at[i];
      x.gradient()->add(Tensor::from(dx, x.shape(), x.device()));
    });
  }
  return y;
}

TEST_CASE("backward runs the steps from last to first, once, and frees each", "[tape]") {
  Tape tape;
  std::string order;
  std::vector<std::weak_ptr<int>> saved;
  std::vector<int> alive_after;
  for (int i = 0; i < 3; ++i) {
    auto held = std::make_shared<int>(i);
    saved.push_back(held);
    tape.record([&, held] {
      order += std::to_string(*held);
      int alive = 0;
      for (const auto& s : saved) alive += !s.expired();
      alive_after.push_back(alive);
    });
  }
  REQUIRE(tape.size() == 3);
  tape.backward();
  REQUIRE(order == "210");
  REQUIRE(alive_after == std::vector<int>{3, 2, 1});  // each finds those after it gone
  REQUIRE(tape.size() == 0);
  tape.backward();
  REQUIRE(order == "210");
}

TEST_CASE("tensors saved for backward go back to the cache as it runs", "[tape]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::size_t before = memory_statistics(device).in_use;
  Tape tape;
  std::vector<std::size_t> in_use;
  for (int i = 0; i < 3; ++i) {
    tape.record([&in_use, device, saved = Tensor({1'000'000}, DType::f32, device)] {
      in_use.push_back(memory_statistics(device).in_use);
    });
  }
  const std::size_t each = (memory_statistics(device).in_use - before) / 3;
  tape.backward();
  REQUIRE(in_use == std::vector<std::size_t>{before + 3 * each, before + 2 * each, before + each});
  REQUIRE(memory_statistics(device).in_use == before);
}

TEST_CASE("a Recording lasts as long as it lives, on its thread", "[tape]") {
  REQUIRE(Tape::current() == nullptr);
  Tape outer, inner;
  {
    const Recording record(&outer);
    REQUIRE(Tape::current() == &outer);
    {
      const Recording record_inner(&inner);
      REQUIRE(Tape::current() == &inner);
      const Recording none(nullptr);
      REQUIRE(Tape::current() == nullptr);
    }
    REQUIRE(Tape::current() == &outer);
    Tape* elsewhere = &inner;
    std::thread([&] { elsewhere = Tape::current(); }).join();
    REQUIRE(elsewhere == nullptr);
    // Nothing is recorded while backward runs.
    Tape* within = &inner;
    outer.record([&] { within = Tape::current(); });
    outer.backward();
    REQUIRE(within == nullptr);
    REQUIRE(Tape::current() == &outer);
  }
  REQUIRE(Tape::current() == nullptr);
}

TEST_CASE("gradients of a value used twice add up", "[tape]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Tape tape;
  Tensor x = filled(device, 3);
  x.want_gradient();
  {
    const Recording record(&tape);
    const Tensor a = square(x), b = square(x), c = square(a);
    b.gradient()->add(filled(device, 1));
    c.gradient()->add(filled(device, 1));
  }
  tape.backward();
  REQUIRE(first(x.gradient()->value()) == 2 * 3 + 4 * 27);
}

TEST_CASE("recomputed runs its function again in backward", "[tape]") {
  const Device device = GENERATE(from_range(testing::devices()));
  int calls = 0;
  std::vector<bool> recorded;
  const auto fourth_power = [&](const std::vector<Tensor>& in) {
    recorded.push_back(Tape::current() != nullptr);
    return std::vector<Tensor>{square(square(in[0], &calls), &calls)};
  };
  Tensor x = filled(device, 2);

  // Without a tape it is a plain call.
  REQUIRE(first(recomputed(fourth_power, {x})[0]) == 16);
  REQUIRE(calls == 2);

  x.want_gradient();
  Tape tape;
  const std::size_t before = memory_statistics(device).allocations;
  Tensor y;
  {
    const Recording record(&tape);
    y = recomputed(fourth_power, {x})[0];
  }
  REQUIRE(memory_statistics(device).allocations > before);
  REQUIRE(calls == 4);
  REQUIRE(tape.size() == 1);  // one step, holding no inner value
  REQUIRE(first(y) == 16);
  y.gradient()->add(filled(device, 10));
  tape.backward();
  REQUIRE(calls == 6);
  REQUIRE(recorded == std::vector<bool>{false, false, true});
  REQUIRE(first(x.gradient()->value()) == 10 * 4 * 8);
}

TEST_CASE("recomputed keeps only inputs and outputs", "[tape]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const std::size_t before = memory_statistics(device).in_use;
  Tensor x = Tensor::zeros({1'000'000}, DType::f32, device);
  const std::size_t each = memory_statistics(device).in_use - before;
  x.want_gradient();
  const auto eighth_power = [](const std::vector<Tensor>& in) {
    return std::vector<Tensor>{square(square(square(in[0])))};
  };
  Tape tape;
  const Recording record(&tape);
  const Tensor y = recomputed(eighth_power, {x})[0];
  REQUIRE(memory_statistics(device).in_use == before + 2 * each);
}

TEST_CASE("recomputed: inputs passed through, unwanted and unused values", "[tape]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Tensor x = filled(device, 3);
  const Tensor constant = filled(device, 5);
  x.want_gradient();
  const auto f = [](const std::vector<Tensor>& in) {
    return std::vector<Tensor>{in[0], square(in[0]), square(in[1])};
  };
  Tape tape;
  std::vector<Tensor> out;
  {
    const Recording record(&tape);
    out = recomputed(f, {x, constant});
  }
  REQUIRE(out.size() == 3);
  // The output that is the input has a gradient of its own; nothing flows to the constant, and
  // nothing needs to arrive at out[1].
  REQUIRE(out[0].gradient() != x.gradient());
  out[0].gradient()->add(filled(device, 7));
  out[2].gradient()->add(filled(device, 1));
  tape.backward();
  REQUIRE(first(x.gradient()->value()) == 7);
  REQUIRE_FALSE(constant.gradient());
}

TEST_CASE("recomputed steps may nest", "[tape]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Tensor x = filled(device, 2);
  x.want_gradient();
  const auto inner = [](const std::vector<Tensor>& in) {
    return std::vector<Tensor>{square(in[0])};
  };
  const auto outer = [&](const std::vector<Tensor>& in) { return recomputed(inner, in); };
  Tape tape;
  Tensor y;
  {
    const Recording record(&tape);
    y = recomputed(outer, {x})[0];
  }
  y.gradient()->add(filled(device, 1));
  tape.backward();
  REQUIRE(first(x.gradient()->value()) == 4);
}

}  // namespace
}  // namespace hh
