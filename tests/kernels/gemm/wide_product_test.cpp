// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/wide_product.h"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "kernels/core/parallel.h"
#include "tests/support/values.h"

namespace hh::cpu {
namespace {

using testing::normal;
using Size = std::size_t;

struct Freed {
  void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t(64)); }
};
std::unique_ptr<std::byte, Freed> aligned(Size bytes) {
  return std::unique_ptr<std::byte, Freed>(
      static_cast<std::byte*>(::operator new(bytes + 64, std::align_val_t(64))));
}

/// A product and what it reads.
struct Case {
  Case(std::int64_t m_in, std::int64_t n_in, std::int64_t k_in)
      : m(m_in),
        n(n_in),
        k(k_in),
        a(normal(Size(m * k), 1)),
        b(normal(Size(n * k), 2)),
        bias(normal(Size(n), 3)) {}

  /// The results, and a guard behind them.
  std::vector<float> run(bool with_bias, const FinishTile* finish = nullptr,
                         const void* packed = nullptr) const {
    std::vector<float> c(Size(m * n) + 16, kGuard);
    WideProduct p = product(with_bias, c.data());
    if (packed != nullptr) {
      p.packed = static_cast<const float*>(packed);
      p.b = nullptr;
    }
    const auto scratch = aligned(workspace_bytes(p));
    cpu::run(p, scratch.get(), finish);
    for (Size i = Size(m * n); i < c.size(); ++i) REQUIRE(c[i] == kGuard);
    c.resize(Size(m * n));
    return c;
  }
  WideProduct product(bool with_bias, float* c) const {
    return {.m = m,
            .n = n,
            .k = k,
            .a = a.data(),
            .b = b.data(),
            .bias = with_bias ? bias.data() : nullptr,
            .c = c};
  }

  static constexpr float kGuard = -77;
  std::int64_t m, n, k;
  std::vector<float> a, b, bias;
};

/// Sizes around what blocks are made of: vectors, panels, 8 panels, 96 rows, parts of the depth.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1},
           {7, 5, 3},
           {13, 48, 64},
           {97, 49, 31},
           {100, 130, 257},
           {200, 400, 48},
           {195, 97, 513},
           {8, 700, 1100},
       }) {
    all.emplace_back(m, n, k);
  }
  return all;
}

bool same_bits(const std::vector<float>& x, const std::vector<float>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

TEST_CASE("a wide product is that of fp64", "[linear]") {
  const bool with_bias = GENERATE(false, true);
  for (const Case& at : cases()) {
    const std::vector<float> c = at.run(with_bias);
    double worst = 0;
    for (Size i = 0; i < Size(at.m); ++i) {
      for (Size j = 0; j < Size(at.n); ++j) {
        double sum = with_bias ? at.bias[j] : 0, size = std::abs(sum);
        for (Size t = 0; t < Size(at.k); ++t) {
          const double term = double(at.a[i * Size(at.k) + t]) * at.b[j * Size(at.k) + t];
          sum += term;
          size += std::abs(term);
        }
        worst = std::max(worst, std::abs(c[i * Size(at.n) + j] - sum) / std::max(size, 1e-30));
      }
    }
    // k terms in any order: k units of 2^-24 of their magnitudes, at the very worst.
    INFO(at.m << " x " << at.n << " x " << at.k);
    CHECK(worst <= double(at.k + 1) * std::ldexp(1, -24));
  }
}

TEST_CASE("a wide product's bits don't depend on threads, on other rows or on packing",
          "[linear]") {
  const int before = num_threads();
  for (const Case& at : cases()) {
    INFO(at.m << " x " << at.n << " x " << at.k);
    set_num_threads(1);
    const std::vector<float> c = at.run(true);
    set_num_threads(3);
    CHECK(same_bits(at.run(true), c));

    Case few = at;
    few.m = (at.m + 2) / 3;
    CHECK(same_bits(few.run(true), {c.begin(), c.begin() + few.m * few.n}));

    const auto packed = aligned(packed_factor_bytes(at.n, at.k));
    pack_factor(at.b.data(), at.n, at.k, reinterpret_cast<float*>(packed.get()));
    CHECK(same_bits(at.run(true, nullptr, packed.get()), c));
  }
  set_num_threads(before);
}

TEST_CASE("a wide product shows each element once, when it is done", "[linear]") {
  for (const Case& at : cases()) {
    INFO(at.m << " x " << at.n << " x " << at.k);
    const std::vector<float> c = at.run(true);
    std::vector<float> seen(c.size(), 0);
    const auto add = [&](const ProductTile& tile) {
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        for (std::int64_t x = 0; x < tile.columns; ++x) {
          seen[Size((tile.row + r) * at.n + tile.column + x)] += tile.c[r * tile.pitch + x];
        }
      }
    };
    const FinishTile finish(add);
    CHECK(same_bits(at.run(true, &finish), c));
    CHECK(seen == c);
  }
}

}  // namespace
}  // namespace hh::cpu
