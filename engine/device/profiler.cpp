// SPDX-License-Identifier: Apache-2.0
#include "engine/device/profiler.h"

#include <cxxabi.h>

#include <cassert>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/text/json_text.h"

namespace hh {
namespace {

using Json = nlohmann::json;

thread_local LayerMark mark_of_thread;

int thread_number() {
  static std::atomic<int> next{0};
  thread_local const int mine = next++;
  return mine;
}

double microseconds(Profiler::Clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

// What a trace calls its processes: the host with its threads, and the GPU.
constexpr int kHostProcess = 0, kDeviceProcess = 1;

Json process_name(int process, const char* name) {
  return {{"name", "process_name"}, {"ph", "M"}, {"pid", process}, {"args", {{"name", name}}}};
}

}  // namespace

std::atomic<Profiler*> Profiler::active_{nullptr};

Profiler::Profiler(std::unique_ptr<DeviceTimeline> timeline, std::size_t limit)
    : timeline_(std::move(timeline)), limit_(limit) {}
Profiler::~Profiler() { stop(); }

void Profiler::start() {
  if (timeline_) timeline_->start();
  Profiler* none = nullptr;
  const bool alone = active_.compare_exchange_strong(none, this);
  assert(alone || none == this);
  static_cast<void>(alone);
}

void Profiler::settle() {
  if (!timeline_) return;
  const std::vector<DeviceTimeline::Span> when = timeline_->finish();
  assert(when.size() == spans_.size());
  for (std::size_t i = 0; i < when.size(); ++i) {
    spans_[i].begin = when[i].begin;
    spans_[i].end = when[i].end;
    add(std::move(spans_[i]));
  }
  spans_.clear();
}

void Profiler::stop() {
  Profiler* self = this;
  active_.compare_exchange_strong(self, nullptr);
}

void Profiler::add(Event event) {
  const std::scoped_lock lock(mutex_);
  if (events_.size() < limit_) {
    events_.push_back(std::move(event));
  } else {
    ++dropped_;
  }
}

void Profiler::add(const MemorySample& sample) {
  const std::scoped_lock lock(mutex_);
  if (memory_.size() < limit_) {
    memory_.push_back(sample);
  } else {
    ++dropped_;
  }
}

std::vector<Profiler::Event> Profiler::events() const {
  const std::scoped_lock lock(mutex_);
  return events_;
}

std::size_t Profiler::dropped() const {
  const std::scoped_lock lock(mutex_);
  return dropped_;
}

std::string Profiler::to_json() const {
  const std::scoped_lock lock(mutex_);
  // Written event by event: as one document a long trace would take gigabytes.
  std::string text = R"({"displayTimeUnit":"ms","otherData":)" +
                     json_text(Json{{"events_dropped", dropped_}}) + ",\"traceEvents\":[\n" +
                     json_text(process_name(kHostProcess, "host"));
  if (timeline_) text += ",\n" + json_text(process_name(kDeviceProcess, "GPU"));
  for (const Event& e : events_) {
    Json args{{"backward", e.backward}};
    if (!e.layer.empty()) args["layer"] = e.layer;
    if (e.work.bytes > 0) args["bytes"] = e.work.bytes;
    if (e.work.flops > 0) args["flops"] = e.work.flops;
    const bool device = e.thread == kDevice;
    text += ",\n" + json_text(Json{{"name", e.name},
                                   {"cat", e.kind},
                                   {"ph", "X"},
                                   {"pid", device ? kDeviceProcess : kHostProcess},
                                   {"tid", device ? 0 : e.thread},
                                   {"ts", microseconds(e.begin - origin_)},
                                   {"dur", microseconds(e.end - e.begin)},
                                   {"args", std::move(args)}});
  }
  for (const MemorySample& s : memory_) {
    text +=
        ",\n" + json_text(Json{{"name", "memory of " + to_string(s.device)},
                               {"ph", "C"},
                               {"pid", kHostProcess},
                               {"ts", microseconds(s.at - origin_)},
                               {"args", {{"in use", s.in_use}, {"kept", s.reserved - s.in_use}}}});
  }
  return text + "\n]}\n";
}

const LayerMark& current_layer() { return mark_of_thread; }

UseLayer::UseLayer(LayerMark mark) : previous_(std::exchange(mark_of_thread, std::move(mark))) {}
UseLayer::~UseLayer() { mark_of_thread = std::move(previous_); }

std::string readable_type_name(const std::type_info& type) {
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, nullptr), &std::free);
  std::string name = text ? text.get() : type.name();
  for (std::size_t at; (at = name.find("hh::")) != std::string::npos;) name.erase(at, 4);
  return name;
}

void ProfileRange::begin(const char* name, const char* kind, std::size_t bytes) {
  name_ = name;
  kind_ = kind;
  bytes_ = bytes;
  if (DeviceTimeline* device = profiler_->timeline()) device->push_range(name);
  begin_ = Profiler::Clock::now();
}

void ProfileRange::finish() {
  const Profiler::Clock::time_point end = Profiler::Clock::now();
  const LayerMark& mark = current_layer();
  profiler_->add({.name = name_,
                  .layer = mark.layer,
                  .kind = kind_,
                  .thread = thread_number(),
                  .backward = mark.backward,
                  .begin = begin_,
                  .end = end,
                  .work = {.bytes = double(bytes_)}});
  if (DeviceTimeline* device = profiler_->timeline()) device->pop_range();
}

void ProfileLaunch::begin(StreamHandle stream, const char* name, const char* kind,
                          const Work& work) {
  name_ = name;
  kind_ = kind;
  work_ = work;
  DeviceTimeline* device = profiler_->timeline();
  queued_ = stream != nullptr;
  if (device != nullptr) {
    const std::string& layer = current_layer().layer;
    device->push_range(layer.empty() ? name : (layer + " " + name).c_str());
  }
  begin_ = Profiler::Clock::now();
  if (queued_ && device != nullptr) device->begin_span();
}

void ProfileLaunch::finish() {
  DeviceTimeline* device = profiler_->timeline();
  const LayerMark& mark = current_layer();
  Profiler::Event event{.name = name_,
                        .layer = mark.layer,
                        .kind = kind_,
                        .thread = thread_number(),
                        .backward = mark.backward,
                        .begin = begin_,
                        .end = {},
                        .work = work_};
  if (queued_) {
    if (device != nullptr) {
      device->end_span();
      Profiler::Event span = event;
      span.thread = Profiler::kDevice;
      profiler_->add_span(std::move(span));
    }
    event.kind = "launch";
    event.work = {};
  }
  event.end = Profiler::Clock::now();
  profiler_->add(std::move(event));
  if (device != nullptr) device->pop_range();
}

}  // namespace hh
