// Where the time of a step goes: ranges of the host and of launches, each with the layer it serves.
// Off, which is the rule, it costs one load of a pointer for each range and launch.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <typeinfo>
#include <vector>

namespace hh {

class Profiler {
 public:
  using Clock = std::chrono::steady_clock;
  struct Event {
    std::string name;
    std::string layer;  // empty: none
    const char* kind;   // "range" or "launch"
    int thread;
    bool backward;
    Clock::time_point begin, end;
  };

  /// Keeps the first `limit` events and counts the others.
  explicit Profiler(std::size_t limit = 1'000'000);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// The one that collects now, between start() and stop(); null when none does. Threads that may
  /// still be inside a range must have ended before it is destroyed.
  static Profiler* active() { return active_.load(std::memory_order_acquire); }
  void start();
  void stop();

  void add(Event event);
  std::vector<Event> events() const;
  std::size_t dropped() const;
  /// Chrome's trace events, which Perfetto reads.
  std::string to_json() const;

 private:
  static std::atomic<Profiler*> active_;
  const std::size_t limit_;
  const Clock::time_point origin_ = Clock::now();
  mutable std::mutex mutex_;
  std::vector<Event> events_;
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
  explicit ProfileRange(const char* name, const char* kind = "range")
      : profiler_(Profiler::active()), name_(name), kind_(kind) {
    if (profiler_ != nullptr) begin_ = Profiler::Clock::now();
  }
  ~ProfileRange() {
    if (profiler_ != nullptr) finish();
  }
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  void finish();
  Profiler* profiler_;
  const char *name_, *kind_;
  Profiler::Clock::time_point begin_;
};

/// "LinearForward<float>" of what typeid calls it.
std::string readable_type_name(const std::type_info& type);

template <class T>
const char* type_name() {
  static const std::string name = readable_type_name(typeid(T));
  return name.c_str();
}

}  // namespace hh
