// SPDX-License-Identifier: Apache-2.0
// The op itself, and that every op that can leave its sums to it leaves all of them.
#include "kernels/elementwise/add_partial_sums.h"

#include <catch2/catch.hpp>

#include "kernels/blockify/deblockify_residual.h"
#include "kernels/conv/conv2d.h"
#include "kernels/core/parallel.h"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/layer_norm/residual_layer_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_gelu.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit;

TEST_CASE("add_partial_sums agrees with its definition", "[sums]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // More sums than the GPU has in one launch, of no, one and many rows, on both sides of a block's
  // 32 columns and 32 rows, some of whose arrays aren't wanted.
  const int several = GENERATE(0, 1, 3, 130);
  const int threads = GENERATE(1, 3);
  CAPTURE(device, several, threads);
  cpu::set_num_threads(threads);
  struct Problem {
    int count, arrays, cols;
    Array<float> rows, to[3];
  };
  std::vector<Problem> problems;
  std::vector<PartialSums> sums;
  for (int i = 0; i < several; ++i) {
    const int count = std::array{33, 1, 0, 32, 400}[std::size_t(i % 5)];
    const int cols = std::array{32, 1, 33, 100}[std::size_t(i % 4)], arrays = 1 + i % 3;
    const auto values = [&](int n, int seed) {
      return Array(device, normal(std::size_t(n), std::uint64_t(4 * i + seed)));
    };
    problems.push_back({count,
                        arrays,
                        cols,
                        values(count * arrays * cols, 0),
                        {values(cols, 1), values(cols, 2), values(cols, 3)}});
    const Problem& p = problems.back();
    sums.push_back({.rows = p.rows.data(), .count = count, .arrays = arrays, .cols = cols});
    for (int a = 0; a < arrays; ++a) {
      sums.back().to[a] = (i + a) % 7 == 6 ? nullptr : p.to[a].data();
    }
  }
  testing::run(device, AddPartialSums{.sums = sums.data(), .count = several});
  cpu::set_num_threads(0);
  std::size_t wrong = 0;
  for (int i = 0; i < several; ++i) {
    const Problem& p = problems[std::size_t(i)];
    const auto rows = p.rows.host();
    for (int a = 0; a < 3; ++a) {
      const auto before = normal(std::size_t(p.cols), std::uint64_t(4 * i + 1 + a));
      const auto got = p.to[a].host();
      const bool wanted = a < p.arrays && sums[std::size_t(i)].to[a] != nullptr;
      for (int c = 0; c < p.cols; ++c) {
        double sum = double(before[std::size_t(c)]), size = std::abs(sum);
        for (int k = 0; wanted && k < p.count; ++k) {
          const double v = double(rows[std::size_t((k * p.arrays + a) * p.cols + c)]);
          sum += v;
          size += std::abs(v);
        }
        // So many additions, in any order.
        wrong += std::abs(double(got[std::size_t(c)]) - sum) > p.count * unit<float>() * size;
      }
    }
  }
  REQUIRE(wrong == 0);
}

/// Runs the op once as it is and once leaving its sums, of the parameters that `sums_of` names, in
/// guarded memory; adds these by add_partial_sums. The results must have the same bits.
template <class Args, class SumsOf>
void check_left(Device device, Args args, const std::vector<int>& cols, SumsOf sums_of) {
  const Kernel<Args>& kernel = backend(device).kernels().template of<Args>();
  if (kernel.partial_sums_bytes == nullptr) return;  // the CPU
  const auto arrays = [&] {
    std::vector<Array<float>> made;
    for (const int n : cols) made.emplace_back(device, normal(std::size_t(n), made.size() + 70));
    return made;
  };
  const auto direct = arrays(), late = arrays();
  sums_of(args, direct);
  testing::run(device, args);
  sums_of(args, late);
  const UseDevice current(backend(device));
  const auto rows = testing::scratch(device, kernel.partial_sums_bytes(args));
  REQUIRE(rows);
  PartialSums left{.rows = reinterpret_cast<float*>(rows->data())};
  args.left = &left;
  testing::run(device, args);
  for (std::size_t i = 0; i < cols.size(); ++i) {
    // Those that are no sums over rows are there already.
    const bool waits = std::count(std::begin(left.to), std::end(left.to), late[i].data()) != 0;
    CHECK((late[i].host() != direct[i].host()) == waits);
  }
  REQUIRE(left.count > 0);
  testing::run(device, AddPartialSums{.sums = &left, .count = 1});
  rows->look_at_guards();
  for (std::size_t i = 0; i < cols.size(); ++i) CHECK(late[i].host() == direct[i].host());
}

constexpr int kRows = 144, kCols = 64;  // 144: four images of 6 x 6

/// Arrays of [kRows, kCols] and of parameters, for ops of any kind.
template <class T>
struct Arrays {
  explicit Arrays(Device device)
      : x(device, normal<T>(kRows * kCols, 1)),
        dy(device, normal<T>(kRows * kCols, 2)),
        out(device, normal<T>(kRows * kCols, 3)),
        weight(device, normal<T>(kCols * kCols, 4)),
        gamma(device, normal(kCols, 5)),
        mean(device, normal(kRows, 6)),
        rstd(device, normal(kRows, 7)) {}
  Array<T> x, dy, out, weight;
  Array<float> gamma, mean, rstd;
};

TEMPLATE_TEST_CASE("norms leave their sums for later, with the same bits", "[sums]", float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  const Arrays<T> a(device);
  check_left(device,
             ResidualLayerNormBackward<T>{.dy = a.dy.data(),
                                          .z = a.x.data(),
                                          .gamma = a.gamma.data(),
                                          .mean = a.mean.data(),
                                          .rstd = a.rstd.data(),
                                          .dresidual = a.out.data(),
                                          .rows = kRows,
                                          .rows_per_image = kRows,
                                          .cols = kCols},
             {kCols, kCols, kCols}, [](auto& args, const auto& to) {
               args.dbias = to[0].data(), args.dgamma = to[1].data(), args.dbeta = to[2].data();
             });
  const BlockGrid grid{.images = 4, .grid = 2, .side = 3, .channels = kCols};
  check_left(device,
             BlockifyLayerNormBackward<T>{.dy = a.dy.data(),
                                          .z = a.x.data(),
                                          .gamma = a.gamma.data(),
                                          .mean = a.mean.data(),
                                          .rstd = a.rstd.data(),
                                          .dx = a.out.data(),
                                          .shape = grid},
             {36 * kCols, kCols, kCols}, [](auto& args, const auto& to) {
               args.dpos = to[0].data(), args.dgamma = to[1].data(), args.dbeta = to[2].data();
             });
  check_left(device,
             DeblockifyResidualBackward<T>{.dout = a.dy.data(), .dz = a.out.data(), .shape = grid},
             {kCols}, [](auto& args, const auto& to) { args.dbias = to[0].data(); });
  const Array<std::uint8_t> argmax(device, std::vector<std::uint8_t>(kRows / 4 * kCols, 4));
  const Array glob(device, normal<T>(4 * 9 * kCols, 10)),
      dglob(device, normal<T>(4 * 9 * kCols, 11));
  check_left(device,
             InteractionMergeBackward<T>{
                 .dout = a.dy.data(),
                 .argmax = argmax.data(),
                 .local = a.x.data(),
                 .glob = glob.data(),
                 .gamma = a.gamma.data(),
                 .mean = a.mean.data(),
                 .rstd = a.rstd.data(),
                 .dlocal = a.out.data(),
                 .dglob = dglob.data(),
                 .shape = {.images = 4, .grid = 3, .factor = 2, .channels = kCols}},
             {kCols, kCols}, [](auto& args, const auto& to) {
               args.dgamma = to[0].data(), args.dbeta = to[1].data();
             });
}

TEMPLATE_TEST_CASE("products leave their sums for later, with the same bits", "[sums]", float,
                   bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  const Arrays<T> a(device);
  check_left(device,
             LinearBackwardWeight<T>{
                 .x = a.x.data(), .dy = a.dy.data(), .rows = kRows, .in = kCols, .out = kCols},
             {kCols, kCols * kCols}, [](auto& args, const auto& to) {
               args.dbias = to[0].data(), args.dweight = to[1].data();
             });
  const auto way = GENERATE(LinearGeluWay::kOneKernel, LinearGeluWay::kTwoLaunches);
  check_left(device,
             LinearGeluBackward<T>{.dout = a.dy.data(),
                                   .weight = a.weight.data(),
                                   .pre = a.x.data(),
                                   .bias = a.gamma.data(),
                                   .dpre = a.out.data(),
                                   .rows = kRows,
                                   .hidden = kCols,
                                   .out = kCols,
                                   .way = way},
             {kCols}, [](auto& args, const auto& to) { args.dbias = to[0].data(); });
  check_left(device,
             Conv2dBackwardWeight<T>{.x = a.x.data(),
                                     .dy = a.dy.data(),
                                     .shape = {.images = 4,
                                               .height = 6,
                                               .width = 6,
                                               .in_channels = kCols,
                                               .out_channels = kCols,
                                               .kernel_h = 3,
                                               .kernel_w = 3}},
             {kCols, kCols * kCols * 9}, [](auto& args, const auto& to) {
               args.dbias = to[0].data(), args.dweight = to[1].data();
             });
}

TEST_CASE("add_partial_sums names what it refuses", "[sums]") {
  float one = 1;
  const auto refused = [](PartialSums sums, const char* why) {
    REQUIRE_THROWS_WITH(cpu::run(AddPartialSums{.sums = &sums, .count = 1}), Catch::Contains(why));
  };
  REQUIRE_THROWS_WITH(cpu::run(AddPartialSums{.count = -1}), Catch::Contains("count = -1"));
  REQUIRE_THROWS_WITH(cpu::run(AddPartialSums{.count = 1}), Catch::Contains("sums is null"));
  refused({.rows = &one, .count = 1, .arrays = 4, .cols = 1}, "sums[0] has count = 1");
  refused({.rows = &one, .count = -2, .cols = 1}, "sums[0] has count = -2");
  refused({.count = 1, .cols = 1}, "rows of sums[0] is null");
}

}  // namespace
}  // namespace hh
