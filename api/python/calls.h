// SPDX-License-Identifier: Apache-2.0
// Calls of the library, during which the interpreter's lock is released. A thread that asks for the
// lock when the interpreter has ended is ended by Python, in the middle of our C++; so the
// interpreter waits at its end for the calls under way, and those of training and encoding stop
// after their step.
#pragma once
#include <nanobind/nanobind.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>

namespace hh::python {

/// Changed and read with the interpreter's lock held.
struct Calls {
  int running = 0;
  std::optional<std::thread::id>
      ender;  // the thread that ends the interpreter; it may go on calling

  /// Whether this thread's call is to come to its end.
  bool must_stop() const { return ender && *ender != std::this_thread::get_id(); }
};
inline Calls calls;

/// In place of nanobind's gil_scoped_release.
class Unlocked {
 public:
  Unlocked() : Unlocked(true) {}
  /// For destructors: goes ahead though the interpreter is ending.
  struct AtAnyTime {};
  explicit Unlocked(AtAnyTime) : Unlocked(false) {}
  ~Unlocked() {
    PyEval_RestoreThread(state_);
    --calls.running;
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  explicit Unlocked(bool refuses) {
    if (refuses && calls.must_stop()) {
      throw std::runtime_error("the interpreter is ending: it takes no more calls");
    }
    ++calls.running;
    state_ = PyEval_SaveThread();
  }
  PyThreadState* state_ = nullptr;
};

/// Registers the wait with Python's atexit. `last`: what is done after it.
template <class F>
void wait_at_exit(F last) {
  const auto wait = [last] {
    calls.ender = std::this_thread::get_id();
    while (calls.running > 0) {
      if (PyErr_CheckSignals() != 0) throw nanobind::python_error();  // Ctrl-C: not a moment longer
      const nanobind::gil_scoped_release unlocked;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    last();
  };
  nanobind::module_::import_("atexit").attr("register")(nanobind::cpp_function(wait));
}

}  // namespace hh::python
