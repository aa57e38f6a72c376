// SPDX-License-Identifier: Apache-2.0
#include "engine/text/log.h"

#include <mutex>
#include <utility>

namespace hh {
namespace {

struct Log {
  std::mutex mutex;
  LogSink sink;
};

/// Never destroyed: what ends after main() may still have something to say.
Log& the_log() {
  static auto& log = *new Log;
  return log;
}

}  // namespace

void set_log(LogSink sink) {
  Log& log = the_log();
  const std::scoped_lock lock(log.mutex);
  log.sink = std::move(sink);
}

void log(LogLevel level, const std::string& text) {
  Log& log = the_log();
  const std::scoped_lock lock(log.mutex);
  if (log.sink) log.sink(level, text);
}

}  // namespace hh
