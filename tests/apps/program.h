// SPDX-License-Identifier: Apache-2.0
// Running the built program as a user does. It lies beside the test program and is HH_PROGRAM:
// hybridhash, unless defined before.
#pragma once
#ifndef HH_PROGRAM
#define HH_PROGRAM "hybridhash"
#endif
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <chrono>
#include <csignal>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/text_file.h"

namespace hh::testing {

inline std::filesystem::path program_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / HH_PROGRAM;
}

/// Throws where text for users has source text in it, as "(required:" or a name with "::". `words`
/// are the user's own, which may hold anything; so may an IPv6 address.
inline void check_no_source_text(std::string text, const std::vector<std::string>& words = {}) {
  const std::string whole = text;
  for (const std::string& word : words) {
    if (word.find("::") == std::string::npos) continue;
    for (std::size_t at; (at = text.find(word)) != std::string::npos;) text.erase(at, word.size());
  }
  const auto refuse = [&](const std::string& source) {
    throw std::runtime_error("source text '" + source + "' in a message: " + whole);
  };
  for (const char* source : {"(required:", "nlohmann", "basic_string", "json.exception"}) {
    if (text.find(source) != std::string::npos) refuse(source);
  }
  for (std::size_t at = 0; (at = text.find("::", at)) != std::string::npos; at += 2) {
    const char next = at + 2 < text.size() ? text[at + 2] : ' ';
    const bool address = std::isdigit(static_cast<unsigned char>(next)) != 0 || next == ']';
    if (!address) refuse("::");
  }
}

/// A running program, its output going to files in `folder`.
class Program {
 public:
  Program(const std::filesystem::path& folder, const std::vector<std::string>& arguments,
          const std::filesystem::path& program = program_path())
      : out_(folder / "stdout"), err_(folder / "stderr"), words_(arguments) {
    std::vector<std::string> words{program.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), kFlags, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err_.c_str(), kFlags, 0600);
    const int error = posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("can't start " + program.string());
  }
  ~Program() noexcept(false) {
    if (pid_ > 0) kill(pid_, SIGKILL), reap();
    if (std::uncaught_exceptions() == 0) err();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const { kill(pid_, number); }

  /// Its exit status, or 128 + the signal that ended it.
  int wait() {
    const int status = reap();
    err();
    return status;
  }
  /// Whether it still runs.
  bool running() const {
    siginfo_t info{};
    return waitid(P_PID, id_t(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
  }

  std::string out() const { return read_text(out_); }
  /// Throws for source text among what it said.
  std::string err() const {
    std::string text = read_text(err_);
    check_no_source_text(text, words_);
    return text;
  }

 private:
  int reap() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::filesystem::path out_, err_;
  std::vector<std::string> words_;
  pid_t pid_ = 0;
};

struct Outcome {
  int status = 0;
  std::string out, err;
};

/// Without what depends on the machine and the build: that --device auto found no GPU.
inline std::string without_device_warning(std::string text) {
  const std::size_t begin = text.find("hybridhash: warning: running on the CPU: ");
  if (begin == std::string::npos) return text;
  return text.erase(begin, text.find('\n', begin) + 1 - begin);
}

inline Outcome run_program(const std::filesystem::path& folder,
                           const std::vector<std::string>& arguments,
                           const std::filesystem::path& program = program_path()) {
  Program running(folder, arguments, program);
  const int status = running.wait();
  return {status, running.out(), without_device_warning(running.err())};
}

/// Waits up to a minute for `condition`; false if it never came.
template <class Condition>
bool wait_for(Condition condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace hh::testing
