// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/workspace.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

TEST_CASE("a workspace's arrays lie on cache lines of their own", "[core]") {
  alignas(64) std::byte memory[512];
  Workspace workspace(memory);
  CHECK(static_cast<void*>(workspace.take<float>(1)) == memory);
  CHECK(static_cast<void*>(workspace.take<double>(9)) == memory + 64);
  CHECK(static_cast<void*>(workspace.take<char>(0)) == memory + 192);
  CHECK(static_cast<void*>(workspace.take<std::uint64_t>(8)) == memory + 192);
  CHECK(workspace.rest() == memory + 256);
  CHECK(workspace.bytes() == 256);
  CHECK(Workspace::piece(memory, 3, 128).rest() == memory + 384);
}

TEST_CASE("a workspace made from null measures", "[core]") {
  Workspace workspace(nullptr);
  CHECK(workspace.take<float>(17) == nullptr);
  CHECK(workspace.take<float>(16) == nullptr);
  CHECK(workspace.rest() == nullptr);
  CHECK(workspace.bytes() == 192);
}

}  // namespace
}  // namespace hh
