// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/access_log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/text/json_text.h"
#include "engine/text/log.h"
#include "kernels/core/check.h"

namespace hh::apps {
namespace {

constexpr std::size_t kMaxMethod = 16,
                      kMaxPath = 512;  // of what clients send: a line fits into PIPE_BUF
constexpr mode_t kMode = 0640;

std::string time_text(std::chrono::system_clock::time_point time) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::time_t(ms / 1000)), ms % 1000);
}

}  // namespace

std::string access_line(const HttpAnswered& answered) {
  nlohmann::ordered_json line{{"time", time_text(std::chrono::system_clock::now())},
                              {"client", answered.client},
                              {"method", answered.method.substr(0, kMaxMethod)},
                              {"path", answered.path.substr(0, kMaxPath)},
                              {"status", answered.status},
                              {"bytes", answered.bytes},
                              {"ms", std::round(answered.seconds * 1e6) / 1e3}};
  return json_text(line);
}

AccessLog::AccessLog(const std::string& path) : path_(path) {
  if (path == "-") {
    descriptor_ = STDOUT_FILENO;
    return;
  }
  open();
  char first = '{';
  if (::pread(descriptor_, &first, 1, 0) == 1 && first != '{') {
    ::close(descriptor_);
    throw std::invalid_argument("--access-log " + path +
                                ": this file is no access log; name another");
  }
}

AccessLog::~AccessLog() {
  if (path_ != "-" && descriptor_ >= 0) ::close(descriptor_);
}

void AccessLog::open() {
  // Readable too, to see whose it is; a log that only takes lines, as a pipe, will do as well.
  const int flags = O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK;
  int opened = ::open(path_.c_str(), O_RDWR | flags, kMode);
  if (opened < 0 && errno == EACCES) opened = ::open(path_.c_str(), O_WRONLY | flags, kMode);
  HH_REQUIRE(opened >= 0,
             "--access-log " << path_ << ": can't be written: " << std::strerror(errno));
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = opened;
}

bool AccessLog::moved() const {
  struct stat here {
  }, held{};
  if (::fstat(descriptor_, &held) != 0) return false;
  return ::stat(path_.c_str(), &here) != 0 || here.st_ino != held.st_ino ||
         here.st_dev != held.st_dev;
}

/// A reader that has stopped reading loses lines, and doesn't stop the server: stdout may wait.
bool AccessLog::has_room() const {
  pollfd to{.fd = descriptor_, .events = POLLOUT, .revents = 0};
  if (::poll(&to, 1, 0) != 0) return true;
  errno = EAGAIN;
  return false;
}

ssize_t AccessLog::put_now(const std::string& text) const {
  ssize_t put = 0;
  do {
    put = ::write(descriptor_, text.data(), text.size());
  } while (put < 0 && errno == EINTR);
  return put;
}

void AccessLog::write(const HttpAnswered& answered) {
  const std::string line = access_line(answered) + "\n";
  const std::lock_guard lock(mutex_);
  std::string problem;
  try {
    if (path_ != "-" && moved()) open();
  } catch (const std::invalid_argument& error) {
    problem = error.what();  // it still goes where it went
  }
  // Whole lines: another process may append too. Behind a line that was cut short comes a new one.
  const std::string text = cut_ ? "\n" + line : line;
  const ssize_t put = has_room() ? put_now(text) : -1;
  if (put != ssize_t(text.size())) {
    problem =
        "--access-log " + path_ + ": " + (put < 0 ? std::strerror(errno) : "the disk is full");
  }
  if (put > 0) cut_ = put != ssize_t(text.size());
  if (!problem.empty() && !warned_) log(LogLevel::kWarning, problem + "; lines are lost");
  warned_ = !problem.empty();
}

}  // namespace hh::apps
