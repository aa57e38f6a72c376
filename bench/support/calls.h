// SPDX-License-Identifier: Apache-2.0
// What is timed of a case.
#pragma once
#include <functional>
#include <memory>
#include <vector>

namespace hh::bench {

class Rotation;

/// Does the work once each, or queues it on a GPU.
struct Calls {
  std::vector<std::function<void()>> each;
  bool beyond_caches =
      false;  // their arrays are more than a cache holds, so a round of them is cold
  std::shared_ptr<const Rotation> arrays{};
};

}  // namespace hh::bench
