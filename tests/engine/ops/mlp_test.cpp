// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cstdlib>

#include "engine/ops/linear.h"
#include "engine/tensor/tape.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

/// HH_LINEAR_GELU for as long as this lives.
class Setting {
 public:
  explicit Setting(const char* way) { setenv("HH_LINEAR_GELU", way, 1); }
  ~Setting() { unsetenv("HH_LINEAR_GELU"); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
};

using Values = std::vector<double>;

Values wide(const Tensor& t) {
  Values values;
  for (const float v : t.to_host<float>()) values.push_back(double(v));
  return values;
}
Values wide_bf16(const Tensor& t) {
  Values values;
  for (const bf16 v : t.to_host<bf16>()) values.push_back(double(to_float(v)));
  return values;
}

/// y, dx, and the parameters' gradients of an MLP 64 -> 256 -> 64 over 200 rows.
std::vector<Values> step(Device device, KeepHidden keep) {
  constexpr int kRows = 200, kIn = 64, kHidden = 256;
  Parameters parameters;
  const auto add = [&](const char* name, const Shape& shape) -> const Parameter& {
    return parameters.add(name, shape, Initialisation::kNormal);
  };
  const Parameter &weight1 = add("weight1", {kHidden, kIn}), &bias1 = add("bias1", {kHidden}),
                  &weight2 = add("weight2", {kIn, kHidden});
  parameters.place(device, DType::bf16, /*trainable=*/true);
  parameters.initialise(1, {.std = 0.2f});
  Tensor x = Tensor::from(testing::normal<bf16>(kRows * kIn, 1), {kRows, kIn}, device);
  x.want_gradient();
  Tape tape;
  Tensor y;
  {
    const Recording record(&tape);
    y = mlp(x, weight1, bias1, weight2, keep);
    y.gradient()->add(Tensor::from(testing::normal<bf16>(kRows * kIn, 2), {kRows, kIn}, device));
  }
  tape.backward();
  return {wide_bf16(y), wide_bf16(x.gradient()->take()), wide(weight1.gradient()),
          wide(bias1.gradient()), wide(weight2.gradient())};
}

TEST_CASE("mlp by one kernel, two launches and the hidden layer computed again agree", "[mlp]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  const auto by = [&](const char* way, KeepHidden keep) {
    const Setting setting(way);
    return step(device, keep);
  };
  const auto own = by("own", KeepHidden::kYes), library = by("library", KeepHidden::kYes);
  CHECK(by("own", KeepHidden::kNo) == own);
  CHECK(by("library", KeepHidden::kNo) == library);
  CHECK((own == library) == (device == kCpu));  // the two ways round differently
  for (std::size_t i = 0; i < own.size(); ++i) {
    CAPTURE(i);
    double difference = 0, size = 0;
    for (std::size_t k = 0; k < own[i].size(); ++k) {
      difference += (own[i][k] - library[i][k]) * (own[i][k] - library[i][k]);
      size += own[i][k] * own[i][k];
    }
    // What is rounded or not is within a unit of 2^-8; of independent errors a few remain.
    CHECK(std::sqrt(difference) <= 0x1p-7 * std::sqrt(size));
  }
}

TEST_CASE("mlp refuses another HH_LINEAR_GELU", "[mlp]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const Setting setting("fast");
  REQUIRE_THROWS_WITH(step(device, KeepHidden::kYes),
                      Catch::Contains("HH_LINEAR_GELU=fast: use own or library"));
}

}  // namespace
}  // namespace hh
