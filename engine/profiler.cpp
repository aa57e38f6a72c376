#include "engine/profiler.h"

#include <cxxabi.h>

#include <cassert>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

namespace hh {
namespace {

thread_local LayerMark mark_of_thread;

int thread_number() {
  static std::atomic<int> next{0};
  thread_local const int mine = next++;
  return mine;
}

double microseconds(Profiler::Clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

}  // namespace

std::atomic<Profiler*> Profiler::active_{nullptr};

Profiler::Profiler(std::size_t limit) : limit_(limit) {}
Profiler::~Profiler() { stop(); }

void Profiler::start() {
  Profiler* none = nullptr;
  const bool alone = active_.compare_exchange_strong(none, this);
  assert(alone || none == this);
  static_cast<void>(alone);
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
  nlohmann::json list = nlohmann::json::array();
  for (const Event& e : events_) {
    nlohmann::json args{{"backward", e.backward}};
    if (!e.layer.empty()) args["layer"] = e.layer;
    list.push_back({{"name", e.name},
                    {"cat", e.kind},
                    {"ph", "X"},
                    {"pid", 0},
                    {"tid", e.thread},
                    {"ts", microseconds(e.begin - origin_)},
                    {"dur", microseconds(e.end - e.begin)},
                    {"args", std::move(args)}});
  }
  return nlohmann::json{{"traceEvents", std::move(list)},
                        {"displayTimeUnit", "ms"},
                        {"otherData", {{"events_dropped", dropped_}}}}
      .dump();
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

void ProfileRange::finish() {
  const LayerMark& mark = current_layer();
  profiler_->add({.name = name_,
                  .layer = mark.layer,
                  .kind = kind_,
                  .thread = thread_number(),
                  .backward = mark.backward,
                  .begin = begin_,
                  .end = Profiler::Clock::now()});
}

}  // namespace hh
