// SPDX-License-Identifier: Apache-2.0
#include "engine/device/signal_stack.h"

#include <signal.h>

#include <cstddef>
#include <memory>

namespace hh {
namespace {

/// The frame of a handler holds all registers: with AMX's tiles about 11 KiB.
constexpr std::size_t kBytes = 64 << 10;

class SignalStack {
 public:
  SignalStack() {
    stack_t before{};
    if (::sigaltstack(nullptr, &before) != 0 || (before.ss_flags & SS_DISABLE) == 0) return;
    memory_ = std::make_unique<std::byte[]>(kBytes);
    const stack_t ours{.ss_sp = memory_.get(), .ss_flags = 0, .ss_size = kBytes};
    if (::sigaltstack(&ours, nullptr) != 0) memory_.reset();
  }
  ~SignalStack() {
    if (!memory_) return;
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    ::sigaltstack(&none, nullptr);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace

void use_signal_stack() { static const thread_local SignalStack stack; }

}  // namespace hh
