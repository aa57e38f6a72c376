// SPDX-License-Identifier: Apache-2.0
// Reverse-mode differentiation. While a Tape is recording, every operation of engine/ops whose
// inputs want a gradient leaves a step on it; backward() replays the steps from last to first.
#pragma once
#include <functional>
#include <vector>

#include "engine/device/profiler.h"
#include "engine/tensor/tensor.h"

namespace hh {

class Tape {
 public:
  /// The recording tape of this thread; null when nothing records (inference).
  static Tape* current();

  /// Adds a step. It may hold tensors that backward needs; they are freed as soon as it has run.
  void record(std::function<void()> step);

  /// Runs and drops all steps, last first. The gradients of the outputs must have been put into
  /// their slots; those of inputs and parameters are in theirs afterwards. Not before: on a GPU
  /// sums over rows of all steps are added up together at the end (device/late_sums.h).
  void backward();

  std::size_t size() const { return steps_.size(); }

 private:
  struct Step {
    std::function<void()> run;
    LayerMark mark;  // of whoever recorded it; empty unless a profiler collects
  };
  std::vector<Step> steps_;
};

/// Makes a tape (or none: nullptr) the recording one of this thread for its own lifetime.
class Recording {
 public:
  explicit Recording(Tape* tape);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  Tape* previous_;
};

/// Runs `f` without recording it and has backward run it again, so that only its inputs and outputs
/// are kept in between, not what it computes inside. `f` must compute the same both times: random
/// choices (drop path) come in as inputs.
std::vector<Tensor> recomputed(std::function<std::vector<Tensor>(std::vector<Tensor>)> f,
                               const std::vector<Tensor>& inputs);

}  // namespace hh
