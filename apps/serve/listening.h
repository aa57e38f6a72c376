// SPDX-License-Identifier: Apache-2.0
// Sockets that the server listens on and the HTTP library doesn't make: in the file system, or handed
// over by systemd.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>

namespace hh::apps {

/// A socket in the file system, on which nobody listens yet; its file is removed at the end.
class UnixSocket {
 public:
  /// Takes the place of one that a dead process left. Throws std::runtime_error: another kind of
  /// file is there, a process listens on it, a path that can't be one.
  UnixSocket(const std::string& path, mode_t mode);
  ~UnixSocket();
  UnixSocket(const UnixSocket&) = delete;
  UnixSocket& operator=(const UnixSocket&) = delete;

  /// For who listens and closes it.
  int descriptor() const { return descriptor_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  dev_t device_ = 0;
  ino_t file_ = 0;
};

/// The socket that whoever started this process listens on already, in the manner of systemd
/// (LISTEN_PID, LISTEN_FDS: sd_listen_fds(3)); the variables are removed. Throws std::runtime_error
/// where there are several, or it is no listening stream socket.
std::optional<int> handed_over_socket();

/// What a socket is bound to.
struct BoundTo {
  std::string address;    // "127.0.0.1:8080", "[::1]:8080" or the path of its file
  bool loopback = false;  // an address that only this machine reaches; of files: false, since a
                          // proxy before them stands for anyone
  bool file = false;
};
BoundTo bound_to(int descriptor);

/// Whether a numeric address, or "localhost", is of the machine itself alone, as bind() reads it:
/// 127.1 and 0x7f.0.0.1 are addresses too.
bool is_loopback(const std::string& host);

}  // namespace hh::apps
