// SPDX-License-Identifier: Apache-2.0
// A line of JSON for each answer: docs/serving.md, "Access log".
#pragma once
#include <sys/types.h>

#include <mutex>
#include <string>

#include "apps/serve/http.h"

namespace hh::apps {

class AccessLog {
 public:
  /// Lines go behind those that the file has; "-": to stdout. Throws std::invalid_argument where it
  /// can't be written, or is a file of something else.
  explicit AccessLog(const std::string& path);
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  /// Safe from many threads. A file that has been moved away or removed is made anew first. What
  /// can't be written is lost, and a warning says so once.
  void write(const HttpAnswered& answered);

 private:
  void open();
  bool moved() const;
  bool has_room() const;
  ssize_t put_now(const std::string& text) const;

  const std::string path_;
  std::mutex mutex_;
  int descriptor_ = -1;
  bool warned_ = false, cut_ = false;
};

/// Without its end. Whatever clients send, it is one line of valid JSON.
std::string access_line(const HttpAnswered& answered);

}  // namespace hh::apps
