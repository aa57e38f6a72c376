// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/tape.h"

#include <optional>
#include <utility>

#include "engine/device/late_sums.h"

namespace hh {
namespace {

thread_local Tape* recording = nullptr;

}  // namespace

Tape* Tape::current() { return recording; }

void Tape::record(std::function<void()> step) {
  LayerMark mark;
  if (Profiler::active() != nullptr) mark = {.layer = current_layer().layer, .backward = true};
  steps_.push_back({.run = std::move(step), .mark = std::move(mark)});
}

void Tape::backward() {
  const Recording none(nullptr);
  // Not of a tape inside another's step: its sums wait for the outer one's.
  std::optional<LateSums> sums;
  if (LateSums::current() == nullptr) sums.emplace();
  while (!steps_.empty()) {
    // Taken off first, so that what it saved is freed before the next step allocates.
    Step step = std::move(steps_.back());
    steps_.pop_back();
    const UseLayer layer(std::move(step.mark));
    step.run();
  }
  if (!sums) return;
  const UseLayer layer({.layer = "parameters", .backward = true});
  sums->finish();
}

Recording::Recording(Tape* tape) : previous_(std::exchange(recording, tape)) {}
Recording::~Recording() { recording = previous_; }

std::vector<Tensor> recomputed(std::function<std::vector<Tensor>(std::vector<Tensor>)> f,
                               const std::vector<Tensor>& inputs) {
  Tape* tape = Tape::current();
  if (tape == nullptr) return f(inputs);
  std::vector<Tensor> outputs;
  {
    const Recording none(nullptr);
    outputs = f(inputs);
  }
  std::vector<std::shared_ptr<Gradient>> slots;
  for (Tensor& output : outputs) {
    output = output.detached();  // an output may be an input passed through
    output.want_gradient();
    slots.push_back(output.gradient());
  }
  tape->record([f = std::move(f), inputs, slots = std::move(slots)] {
    std::vector<Tensor> again;
    for (const Tensor& input : inputs) {
      again.push_back(input.detached());
      if (input.gradient()) again.back().want_gradient();
    }
    Tape inner;
    {
      const Recording record(&inner);
      const std::vector<Tensor> outputs_again = f(again);
      for (std::size_t i = 0; i < slots.size(); ++i) {
        const Tensor gradient = slots[i]->take();
        if (gradient && outputs_again[i].gradient()) outputs_again[i].gradient()->add(gradient);
      }
    }
    inner.backward();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].gradient()) continue;
      const Tensor gradient = again[i].gradient()->take();
      if (gradient) inputs[i].gradient()->add(gradient);
    }
  });
  return outputs;
}

}  // namespace hh
