// SPDX-License-Identifier: Apache-2.0
// Products of a GPU through its own tuner. Hidden: it wants to be the first that uses the GPU.
#include <catch2/catch.hpp>
#include <cstdlib>

#include "engine/device/launch.h"
#include "engine/device/tuning/timed_products.h"
#include "engine/device/tuning/tuning.h"
#include "engine/tensor/tensor.h"
#include "kernels/linear/linear.h"
#include "tests/support/device.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::normal;

/// x W' + b, and W's and b's gradients with y as dy added to what is there, of [rows, 64] x [96, 64].
struct Layer {
  explicit Layer(std::int64_t rows_, Device device)
      : rows(rows_),
        x(Tensor::from(normal(std::size_t(rows) * 64, 1), {rows, 64}, device)),
        weight(Tensor::from(normal(96 * 64, 2), {96, 64}, device)),
        bias(Tensor::from(normal(96, 3), {96}, device)),
        y({rows, 96}, DType::f32, device),
        dweight(Tensor::from(normal(96 * 64, 4), {96, 64}, device)),
        dbias(Tensor::from(normal(96, 5), {96}, device)) {}

  void run() const {
    launch(x.device(), LinearForward<float>{.x = x.data<float>(),
                                            .weight = weight.data<float>(),
                                            .bias = bias.data<float>(),
                                            .y = y.data<float>(),
                                            .rows = rows,
                                            .in = 64,
                                            .out = 96});
    launch(x.device(), LinearBackwardWeight<float>{.x = x.data<float>(),
                                                   .dy = y.data<float>(),
                                                   .dweight = dweight.data<float>(),
                                                   .dbias = dbias.data<float>(),
                                                   .rows = rows,
                                                   .in = 64,
                                                   .out = 96});
  }
  /// All that run() changes.
  std::vector<float> results() const {
    std::vector<float> all;
    for (const Tensor* t : {&y, &dweight, &dbias}) {
      const auto part = t->to_host<float>();
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

  std::int64_t rows;
  Tensor x, weight, bias, y, dweight, dbias;
};

TEST_CASE("products of a GPU are timed, kept, and computed as if they weren't timed",
          "[.tuned_gpu]") {
  const testing::TemporaryFolder cache;
  setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
  set_tuning(true);
  const Device device = testing::devices().at(0);
  REQUIRE(device.kind == DeviceKind::kCuda);
  const Layer first(40, device);
  first.run();
  const auto once = first.results();
  const auto folder = tuning_folder();
  const auto entry = std::filesystem::directory_iterator(folder);
  const auto path = entry->path();
  const std::string before = path.filename().string();
  CHECK(before.find("-cublaslt-") != std::string::npos);
  const auto size = std::filesystem::file_size(path);
  REQUIRE(size > 100);
  // Known shapes are not timed again, and sums to which something is added were added to once.
  const Layer again(40, device);
  again.run();
  CHECK(again.results() == once);
  CHECK(std::filesystem::file_size(path) == size);
  const Layer reference(40, kCpu);
  reference.run();
  const auto expected = reference.results();
  for (std::size_t i = 0; i < once.size(); ++i) {
    CAPTURE(i);
    REQUIRE(once[i] == Approx(expected[i]).margin(1e-3));  // sums of 64 products of about 1
  }
  // A shape that a recording meets first: nothing may wait then.
  const Layer recorded(24, device);
  Backend& gpu = backend(device);
  const auto graph = gpu.record([&] { recorded.run(); });
  REQUIRE(graph != nullptr);
  graph->replay();
  CHECK(recorded.results().size() == std::size_t(24 * 96 + 96 * 64 + 96));
  CHECK(std::filesystem::file_size(path) == size);
}

}  // namespace
}  // namespace hh
