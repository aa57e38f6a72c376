// SPDX-License-Identifier: Apache-2.0
#include "apps/terminal/standard_streams.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace hh::apps {
namespace {

int first_error = 0;  // of writing to stdout
bool had_no_output = false;

}  // namespace

void open_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) >= 0) continue;
    if (descriptor == STDOUT_FILENO) had_no_output = true;
    // The lowest that is free is taken: this one.
    if (::open("/dev/null", O_RDWR) < 0) return;
  }
}

bool output_was_closed() { return had_no_output; }

void note_output_error(int error) {
  if (first_error == 0) first_error = error;
}

bool print_now(const std::string& line) {
  errno = 0;
  if (std::fputs((line + "\n").c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return true;
  note_output_error(errno);
  return false;
}

int flush_output(int status) {
  errno = 0;
  bool written = std::fflush(stdout) == 0;
  // Some network disks say only at the end that they took nothing.
  const int copy = ::dup(STDOUT_FILENO);
  if (copy >= 0 && ::close(copy) != 0) written = false;
  if (written && std::ferror(stdout) == 0) return status;
  note_output_error(errno);
  if (first_error == EPIPE) return 128 + SIGPIPE;
  if (status > 1) return status;  // its line has been said
  fmt::print(stderr, "hybridhash: the output can't be written: {}\n",
             first_error != 0 ? std::strerror(first_error) : "a write to stdout failed");
  return 2;
}

}  // namespace hh::apps
