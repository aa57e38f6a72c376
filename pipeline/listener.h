// SPDX-License-Identifier: Apache-2.0
// What long work tells the program around it, which prints, draws or drops it: nothing in pipeline/
// writes to a terminal by itself.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace hh::pipeline {

struct ProgressState {
  std::string what;         // "epoch 3/10"
  std::int64_t total = 0;   // of `unit`; 0: not known
  std::int64_t before = 0;  // of them, done in an earlier process
  std::int64_t done = 0;    // so far, those before included
  std::string detail;       // "loss 0.523", or empty
  double whole = -1;        // seconds left of the work that this is a part of; -1: unknown, or all
  bool ended = false;       // nothing more comes of this work
  std::string unit = "images";
};

/// Called from the thread that does the work.
struct Listener {
  /// Text for people, of one line or more, without a newline at its end.
  std::function<void(const std::string&)> report = [](const std::string&) {};
  /// The same, of what may be a mistake.
  std::function<void(const std::string&)> warn = [](const std::string&) {};
  /// At the start, after each batch, and once at the end, also of work that fails.
  std::function<void(const ProgressState&)> progress = [](const ProgressState&) {};
};

/// Tells a listener how far some work is, and that it has ended.
class Progress {
 public:
  /// Keeps the reference.
  Progress(const Listener& listener, std::string what, std::int64_t total, std::int64_t before = 0,
           const std::string& unit = "images");
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::int64_t done, const std::string& detail = "", double whole = -1);

 private:
  const Listener& listener_;
  ProgressState state_;
};

}  // namespace hh::pipeline
