// SPDX-License-Identifier: Apache-2.0
// What the library has to say that is no error: the program around it prints it, or not.
#pragma once
#include <functional>
#include <string>

namespace hh {

/// Errors are the program's: the library throws.
enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogSink = std::function<void(LogLevel, const std::string&)>;

/// Where it goes from now on; an empty function, as at the start: nowhere. Safe from many threads;
/// `sink` is called from any of them, one at a time.
void set_log(LogSink sink);

/// `text`: a line without its end.
void log(LogLevel level, const std::string& text);

}  // namespace hh
