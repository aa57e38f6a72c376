// SPDX-License-Identifier: Apache-2.0
// Sums that ops on a GPU leave unfinished (kernels/core/partial_sums.h) wait for one launch that
// adds up those of a whole backward pass.
#pragma once
#include <memory>
#include <vector>

#include "engine/device/memory.h"
#include "kernels/core/partial_sums.h"

namespace hh {

/// While one lives, what this thread launches leaves its sums here where it can. Until finish() the
/// gradients of parameters lack them. Destroyed without it, as by an exception, it forgets them.
class LateSums {
 public:
  LateSums();
  ~LateSums();
  LateSums(const LateSums&) = delete;
  LateSums& operator=(const LateSums&) = delete;

  /// The innermost of this thread; null: ops finish their sums themselves.
  static LateSums* current();

  /// `rows` is the memory of sums.rows. Sums of another device, or into an array for which some
  /// wait already, have those that wait added first.
  void add(const PartialSums& sums, std::unique_ptr<Storage> rows);
  /// Adds all that wait.
  void finish();

 private:
  LateSums* previous_;
  std::vector<PartialSums> sums_;
  std::vector<std::unique_ptr<Storage>> rows_;  // of the same
};

}  // namespace hh
