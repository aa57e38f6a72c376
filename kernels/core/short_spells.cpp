// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/short_spells.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace hh::cpu {
namespace {

/// The system's struct sched_attr in its first version, which not all C libraries declare.
/// Source: sched_setattr(2); since 6.12 `runtime` is the length of a spell in the usual class too.
struct Attributes {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime, deadline, period;
};

}  // namespace

void ask_for_short_spells() noexcept {
  Attributes its{};
  if (syscall(SYS_sched_getattr, 0, &its, sizeof its, 0) != 0 || its.policy != SCHED_OTHER) return;
  its.size = sizeof its;
  its.runtime = kSpell;
  syscall(SYS_sched_setattr, 0, &its, 0);
}

}  // namespace hh::cpu
