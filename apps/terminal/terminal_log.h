// SPDX-License-Identifier: Apache-2.0
// Where engine/text/log.h leads in the program: to stderr, by spdlog, which only this file's source includes.
#pragma once

namespace hh::apps {

/// From now on warnings and errors are shown, in colours where the terminal has some.
void log_to_stderr();
/// And what was chosen, and why (--verbose).
void log_more();

}  // namespace hh::apps
