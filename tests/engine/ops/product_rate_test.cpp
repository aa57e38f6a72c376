// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/product_rate.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

TEST_CASE("published rates are of exactly the GPU that is named", "[product_rate]") {
  const PublishedRate* const a100 = published_product_rate("NVIDIA A100-SXM4-80GB");
  REQUIRE(a100 != nullptr);
  CHECK(a100->half == 312e12);
  CHECK(a100->f32 == 19.5e12);
  const PublishedRate *const sxm = published_product_rate("NVIDIA H100 80GB HBM3"),
                             *const pcie = published_product_rate("NVIDIA H100 PCIe");
  REQUIRE(sxm != nullptr);
  REQUIRE(pcie != nullptr);
  CHECK(sxm->half > pcie->half);
  for (const char* other : {"", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "NVIDIA GeForce RTX 4090 D",
                            "NVIDIA GeForce RTX 4090 Laptop GPU"}) {
    CAPTURE(other);
    CHECK(published_product_rate(other) == nullptr);
  }
}

TEST_CASE("the CPU's rate is measured in both types", "[product_rate]") {
  for (const DType type : {DType::f32, DType::bf16}) {
    const double rate = measured_product_rate(kCpu, type);
    CHECK(rate > 1e8);   // a single scalar thread does more
    CHECK(rate < 1e15);  // and no CPU so much
  }
}

}  // namespace
}  // namespace hh
