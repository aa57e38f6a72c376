// Where the time of a few training steps goes, by layer and kernel (train --profile).
#pragma once
#include <filesystem>
#include <functional>

#include "engine/profiler.h"

namespace hh::apps {

inline constexpr const char* kTraceFile = "trace.json";
inline constexpr const char* kProfileFile = "profile.tsv";

class StepProfile {
 public:
  /// Steps of this process, from 1. The first two pay for first touches of memory.
  static constexpr std::int64_t kFirst = 3, kLast = 12;

  explicit StepProfile(const std::filesystem::path& folder) : folder_(folder) {}
  /// Runs `take`, a batch, and collects if its step is one to profile. `take` gives whether it
  /// completed the step. After the last such step the files are written.
  void batch(const std::function<bool()>& take);
  /// At the end of the run: writes the files if it ended before kLast.
  void finish();

 private:
  void write();

  std::filesystem::path folder_;
  Profiler profiler_;
  std::int64_t step_ = 1;  // the one under way
  std::int64_t last_ = 0;  // the last one with events; 0: none yet
  bool written_ = false;
};

}  // namespace hh::apps
