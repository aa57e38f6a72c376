// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/onednn.h"

#include <catch2/catch.hpp>

namespace hh::cpu::onednn {
namespace {

struct Probe {};

TEST_CASE("a full store of primitives still has those that it holds", "[linear]") {
  std::size_t made = 0;
  const auto get = [&](std::size_t i) {
    return kept<Probe>({std::int64_t(i)}, [&] {
      ++made;
      return std::make_shared<const Probe>();
    });
  };
  for (std::size_t i = 0; i < kMostKept; ++i) get(i);
  REQUIRE(made == kMostKept);
  const auto held = get(3);
  CHECK(made == kMostKept);
  get(kMostKept);  // one more than fits: the others go
  CHECK(made == kMostKept + 1);
  CHECK(get(kMostKept) != nullptr);
  CHECK(made == kMostKept + 1);
  CHECK(get(3) != held);
}

}  // namespace
}  // namespace hh::cpu::onednn
