// SPDX-License-Identifier: Apache-2.0
// Where the time of a step goes: ranges of the host, kernels and copies, each with the layer it
// serves and the work it must do, and the memory in use.
// Off, which is the rule, each range, kernel, copy and Storage costs a load of a pointer, each step
// of the tape an empty mark, and each layer of a forward pass the string of its name.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <typeinfo>
#include <vector>

#include "engine/device/device.h"
#include "kernels/core/work.h"

namespace hh {

/// When the work of a GPU's stream ran, as its own clock says, and ranges for its tools. Used by
/// one thread.
class DeviceTimeline {
 public:
  using Clock = std::chrono::steady_clock;
  struct Span {
    Clock::time_point begin, end;
  };
  virtual ~DeviceTimeline() = default;
  /// Waits for what is queued, and sets the device's clock beside the host's.
  virtual void start() = 0;
  /// What is queued between the two is a span.
  virtual void begin_span() = 0;
  virtual void end_span() = 0;
  /// Waits for the spans begun since start(), and gives them in order.
  virtual std::vector<Span> finish() = 0;
  /// A range of this thread as nsys shows it (NVTX).
  virtual void push_range(const char* name) = 0;
  virtual void pop_range() = 0;
};

class Profiler {
 public:
  using Clock = DeviceTimeline::Clock;
  static constexpr int kDevice = -1;  // in place of a thread: the GPU's stream
  struct Event {
    std::string name;
    std::string layer;  // empty: none
    /// "kernel" or "copy" where and when it ran; "launch": a GPU's was queued; "range" of the
    /// program; "allocation": memory asked of the device.
    const char* kind;
    int thread;
    bool backward;
    Clock::time_point begin, end;
    Work work;  // of a kernel; a copy's or allocation's bytes
  };
  /// Taken whenever a Storage is made or given back.
  struct MemorySample {
    Device device;
    Clock::time_point at;
    std::size_t in_use, reserved;  // bytes
  };

  /// Keeps the first `limit` events and samples, and counts the others. Kernels of a GPU are timed
  /// if `timeline` is its own.
  explicit Profiler(std::unique_ptr<DeviceTimeline> timeline = nullptr,
                    std::size_t limit = 1'000'000);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// The one that collects now, between start() and stop(); null when none does. Threads that may
  /// still be inside a range must have ended before it is destroyed.
  static Profiler* active() { return active_.load(std::memory_order_acquire); }
  void start();
  /// Waits until the kernels queued since start() have run, so that their events are there.
  void settle();
  /// settle() must have come before, if kernels were queued.
  void stop();

  void add(Event event);
  void add(const MemorySample& sample);
  std::vector<Event> events() const;
  std::size_t dropped() const;
  /// Chrome's trace events, which Perfetto reads.
  std::string to_json() const;

  DeviceTimeline* timeline() { return timeline_.get(); }
  /// The device's event of a span: settle() tells when it ran.
  void add_span(Event event) { spans_.push_back(std::move(event)); }

 private:
  static std::atomic<Profiler*> active_;
  const std::unique_ptr<DeviceTimeline> timeline_;
  const std::size_t limit_;
  const Clock::time_point origin_ = Clock::now();
  mutable std::mutex mutex_;
  std::vector<Event> events_;
  std::vector<MemorySample> memory_;
  std::vector<Event> spans_;  // of the timeline, not yet settled; by the thread that launches
  std::size_t dropped_ = 0;
};

/// The layer that this thread computes, and whether it is at its backward. The tape keeps it with
/// each step, so that backward work counts for the layer that recorded it.
struct LayerMark {
  std::string layer;
  bool backward = false;
};
const LayerMark& current_layer();

/// Sets it for its own lifetime.
class UseLayer {
 public:
  explicit UseLayer(LayerMark mark);
  ~UseLayer();
  UseLayer(const UseLayer&) = delete;
  UseLayer& operator=(const UseLayer&) = delete;

 private:
  LayerMark previous_;
};

/// An event of this thread, from construction to destruction. `name` must outlive it.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name, const char* kind = "range", std::size_t bytes = 0)
      : profiler_(Profiler::active()) {
    if (profiler_ != nullptr) begin(name, kind, bytes);
  }
  ~ProfileRange() {
    if (profiler_ != nullptr) finish();
  }
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  void begin(const char* name, const char* kind, std::size_t bytes);
  void finish();
  Profiler* profiler_;
  const char *name_, *kind_;
  std::size_t bytes_;
  Profiler::Clock::time_point begin_;
};

/// "LinearForward<float>" of what typeid calls it.
std::string readable_type_name(const std::type_info& type);

template <class T>
const char* type_name() {
  static const std::string name = readable_type_name(typeid(T));
  return name.c_str();
}

/// A kernel or a copy that is queued on `stream` (null: runs on this thread) between construction
/// and destruction.
class ProfileLaunch {
 public:
  template <class Args>
  ProfileLaunch(StreamHandle stream, const Args& args) : profiler_(Profiler::active()) {
    if (profiler_ != nullptr) begin(stream, type_name<Args>(), "kernel", args.work());
  }
  ProfileLaunch(StreamHandle stream, const char* copy, std::size_t bytes)
      : profiler_(Profiler::active()) {
    if (profiler_ != nullptr) begin(stream, copy, "copy", {.bytes = double(bytes)});
  }
  ~ProfileLaunch() {
    if (profiler_ != nullptr) finish();
  }
  ProfileLaunch(const ProfileLaunch&) = delete;
  ProfileLaunch& operator=(const ProfileLaunch&) = delete;

 private:
  void begin(StreamHandle stream, const char* name, const char* kind, const Work& work);
  void finish();
  Profiler* profiler_;
  const char *name_, *kind_;
  bool queued_;
  Work work_;
  Profiler::Clock::time_point begin_;
};

}  // namespace hh
