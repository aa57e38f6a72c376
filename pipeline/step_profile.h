// SPDX-License-Identifier: Apache-2.0
// Where the time of a few training steps goes, by layer and kernel (train --profile).
#pragma once
#include <filesystem>
#include <functional>
#include <string>

#include "engine/device/profiler.h"
#include "pipeline/listener.h"

namespace hh::pipeline {

inline constexpr const char* kTraceFile = "trace.json";
inline constexpr const char* kProfileFile = "profile.tsv";

/// Steps of this process, from 1.
struct ProfiledSteps {
  std::int64_t first = 3, last = 12;  // the first two pay for first touches of memory
};

class StepProfile {
 public:
  /// `listener` gets the tables. Keeps the reference.
  StepProfile(const std::filesystem::path& folder, Device device, ProfiledSteps steps,
              const Listener& listener);
  /// Runs `take`, a batch, and collects if its step is one to profile; it then waits for the
  /// device. `take` gives whether it completed the step. After the last such step the files are
  /// written.
  void batch(const std::function<bool()>& take);
  /// Whether they have been written.
  bool finished() const { return finished_; }
  /// At the end of the run: writes the files if it ended before the last step.
  void finish();

 private:
  std::filesystem::path folder_;
  Device device_;
  ProfiledSteps steps_;
  const Listener& listener_;
  Profiler profiler_;
  std::int64_t step_ = 1;  // the one under way
  std::int64_t last_ = 0;  // the last one with events; 0: none yet
  bool finished_ = false;
};

}  // namespace hh::pipeline
