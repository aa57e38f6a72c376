// SPDX-License-Identifier: Apache-2.0
#include "pipeline/listener.h"

#include <exception>
#include <utility>

namespace hh::pipeline {

Progress::Progress(const Listener& listener, std::string what, std::int64_t total,
                   std::int64_t before, const std::string& unit)
    : listener_(listener),
      state_{
          .what = std::move(what), .total = total, .before = before, .done = before, .unit = unit} {
  listener_.progress(state_);
}

Progress::~Progress() {
  state_.ended = true;
  try {
    listener_.progress(state_);
  } catch (const std::exception&) {  // a listener's failure to draw ends no work
  }
}

void Progress::update(std::int64_t done, const std::string& detail, double whole) {
  state_.done = done;
  state_.detail = detail;
  state_.whole = whole;
  listener_.progress(state_);
}

}  // namespace hh::pipeline
