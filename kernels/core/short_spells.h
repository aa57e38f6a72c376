// SPDX-License-Identifier: Apache-2.0
// How the system shares out the processor to a thread that often waits for others.
#pragma once

namespace hh::cpu {

/// Asks that the calling thread, and those it starts from then on, run for short spells, each soon after
/// they were woken. Beside busy processes a loop otherwise waits milliseconds for a thread that holds
/// one part of it. A thread's share of the processor stays what it is. Linux from 6.12 on takes the wish;
/// elsewhere, and for a thread of another scheduling class than the usual one, nothing happens.
void ask_for_short_spells() noexcept;

/// The length of a spell, in nanoseconds.
inline constexpr unsigned long long kSpell = 200'000;

}  // namespace hh::cpu
