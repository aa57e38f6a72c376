// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/loss_scaler.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

TEST_CASE("the loss scale halves at once, and doubles after many finite steps", "[optimizer]") {
  LossScaler scaler;
  REQUIRE(scaler.scale == 65536);
  scaler.update(false);
  REQUIRE(scaler.scale == 32768);
  for (int i = 1; i < LossScaler::kPatience; ++i) scaler.update(true);
  REQUIRE(scaler.scale == 32768);
  scaler.update(true);
  REQUIRE(scaler.scale == 65536);
  // A bad step starts the count anew.
  for (int i = 1; i < LossScaler::kPatience; ++i) scaler.update(true);
  scaler.update(false);
  scaler.update(true);
  REQUIRE(scaler.scale == 32768);
}

TEST_CASE("the loss scale stays within its limits", "[optimizer]") {
  LossScaler scaler;
  for (int i = 0; i < 100; ++i) scaler.update(false);
  REQUIRE(scaler.scale == LossScaler::kLeast);
  for (int i = 0; i < 40 * LossScaler::kPatience; ++i) scaler.update(true);
  REQUIRE(scaler.scale == LossScaler::kMost);
}

}  // namespace
}  // namespace hh
