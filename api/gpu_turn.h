// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "api/call_mutex.h"

namespace hh::api {

/// A GPU's stream and memory serve one caller at a time.
inline CallMutex& gpu_turn() {
  static CallMutex mutex(
      "a call that needs the GPU from inside another one's progress: wait for its end, or take "
      "device cpu");
  return mutex;
}

}  // namespace hh::api
