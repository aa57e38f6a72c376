// SPDX-License-Identifier: Apache-2.0
// What stands between the library's exceptions and a C program.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "api/hybridhash.h"
#include "kernels/core/check.h"

namespace hh::api {

/// A callback asked for the end.
struct Stopped : std::exception {
  const char* what() const noexcept override { return "stopped by the caller"; }
};

/// Keeps the text of the exception under way for hh_last_error(); the status that names its kind.
hh_status record_error() noexcept;

/// Runs `body`; what it throws becomes a status.
template <class F>
hh_status guarded(F&& body) noexcept {
  try {
    body();
    return HH_OK;
  } catch (...) {
    return record_error();
  }
}

/// The caller's options, or the defaults where there are none. A program of an older header gives a
/// shorter struct: the rest keeps its default. Throws std::invalid_argument for a size that is no
/// struct's.
template <class T>
T options_or(const T* given, const T& defaults, const char* name) {
  T options = defaults;
  if (given == nullptr) return options;
  HH_REQUIRE(given->size >= sizeof(std::size_t) && given->size <= sizeof(T),
             name << ": size = " << given->size << "; this library knows " << sizeof(T)
                  << " bytes: start from the INIT macro of its header");
  std::memcpy(&options, given, given->size);
  options.size = sizeof(T);
  return options;
}

/// Fills the caller's struct as far as it goes.
template <class T>
void give(T* to, T from, const char* name) {
  HH_REQUIRE(to != nullptr && to->size >= sizeof(std::size_t),
             name << ": set its size before the call, as the INIT macro does");
  from.size = to->size;
  std::memcpy(to, &from, std::min(to->size, sizeof(T)));
}

/// "" for NULL.
inline std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

/// Throws std::invalid_argument for a NULL that is needed.
template <class T>
T& needed(T* pointer, const char* name) {
  HH_REQUIRE(pointer != nullptr, name << " is NULL");
  return *pointer;
}

/// The caller's array of texts. Throws std::invalid_argument: a negative count, a NULL array of
/// some, a NULL among them.
std::vector<std::string> texts(const char* const* from, std::int64_t count, const char* name);

/// Throws std::invalid_argument unless so many threads may be asked for; 0 is all.
void check_threads(int threads);

}  // namespace hh::api
