// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/listening.h"

#include <fcntl.h>
#include <netdb.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "apps/serve/access.h"

namespace hh::apps {
namespace {

constexpr int kFirstHandedOver = 3;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw std::runtime_error("--unix-socket " + path + ": " + why);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    refuse(path,
           "a path of a socket has 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

/// Removes what a dead process left; whatever else is there is an error.
void make_room(const std::string& path, const sockaddr_un& address) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0) return;
  if (!S_ISSOCK(facts.st_mode)) refuse(path, "there is a file already, and it is no socket");
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int status = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = status == 0 ? 0 : errno;
  ::close(probe);
  if (error == ECONNREFUSED) {
    ::unlink(path.c_str());
  } else if (error != ENOENT) {
    refuse(path, error == 0 || error == EAGAIN ? "a process listens on it already"
                                               : std::strerror(error));
  }
}

BoundTo described(const sockaddr* address, socklen_t size) {
  char name[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  ::getnameinfo(address, size, name, sizeof name, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
  const std::string host =
      address->sa_family == AF_INET6 ? "[" + std::string(name) + "]" : std::string(name);
  return {.address = host + ":" + port, .loopback = is_own_machine(host)};
}

}  // namespace

UnixSocket::UnixSocket(const std::string& path, mode_t mode) : path_(path) {
  const sockaddr_un address = address_of(path);
  make_room(path, address);
  descriptor_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct stat facts {};
  const bool bound =
      descriptor_ >= 0 &&
      ::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  // Nobody can connect before listen(), so that the file never lets in who mayn't.
  if (!bound || ::chmod(path.c_str(), mode) != 0 || ::lstat(path.c_str(), &facts) != 0) {
    const int error = errno;
    if (descriptor_ >= 0) ::close(descriptor_);
    if (bound) ::unlink(path.c_str());
    refuse(path, std::string("can't be made: ") + std::strerror(error));
  }
  device_ = facts.st_dev;
  file_ = facts.st_ino;
}

UnixSocket::~UnixSocket() {
  // Not one that another process has put in its place.
  struct stat facts {};
  if (::lstat(path_.c_str(), &facts) == 0 && facts.st_dev == device_ && facts.st_ino == file_) {
    ::unlink(path_.c_str());
  }
}

std::optional<int> handed_over_socket() {
  const char* const process = std::getenv("LISTEN_PID");
  const char* const number = std::getenv("LISTEN_FDS");
  const bool ours = process != nullptr && number != nullptr &&
                    std::to_string(::getpid()) == process && std::strcmp(number, "0") != 0;
  const std::string sockets = number != nullptr ? number : "";
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  if (!ours) return std::nullopt;
  if (sockets != "1") {
    throw std::runtime_error(sockets.substr(0, 40) +
                             " sockets are handed over (LISTEN_FDS), and one is served: start a "
                             "server for each");
  }
  int listens = 0, type = 0;
  socklen_t size = sizeof(int);
  const bool known =
      ::getsockopt(kFirstHandedOver, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 &&
      ::getsockopt(kFirstHandedOver, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
  if (!known || listens == 0 || type != SOCK_STREAM) {
    throw std::runtime_error(
        "descriptor 3, which LISTEN_FDS hands over, is no stream socket that listens: use "
        "ListenStream= in the socket unit, without Accept=yes");
  }
  ::fcntl(kFirstHandedOver, F_SETFD, FD_CLOEXEC);
  return kFirstHandedOver;
}

BoundTo bound_to(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(descriptor, any, &size) != 0) throw std::runtime_error(std::strerror(errno));
  if (address.ss_family != AF_UNIX) return described(any, size);
  const auto* const file = reinterpret_cast<const sockaddr_un*>(&address);
  // One without a name, or with one in no file system, begins with NUL.
  const std::string path(file->sun_path, ::strnlen(file->sun_path, sizeof file->sun_path));
  return {.address = path, .file = true};
}

bool is_loopback(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) {
    return strcasecmp(host.c_str(), "localhost") == 0;
  }
  const bool loopback = described(found->ai_addr, found->ai_addrlen).loopback;
  ::freeaddrinfo(found);
  return loopback;
}

}  // namespace hh::apps
