// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace hh::apps {
namespace {
static_assert(kMaxLine == CPPHTTPLIB_HEADER_MAX_LENGTH);  // where the library gives up
constexpr std::size_t kBuffer = std::size_t{16} << 10;
constexpr std::size_t kMaxDrained = std::size_t{256} << 20;
}  // namespace

Socket::Socket(int descriptor, double seconds)
    : descriptor_{descriptor}, seconds_(seconds), buffer_(kBuffer) {
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  // Head and body of an answer are sent one after the other: without this the second waits for
  // the client's delayed acknowledgement.
  const int yes = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  read_until_ = write_until_ = in(seconds);
}

Socket::Descriptor::~Descriptor() { ::close(value); }

Socket::Clock::time_point Socket::in(double seconds) const {
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

bool Socket::wait(short events, Clock::time_point until) const {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd entry{.fd = descriptor_, .events = events, .revents = 0};
    const int ready = ::poll(&entry, 1, int(std::clamp<std::int64_t>(left + 1, 0, 1'000'000)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

bool Socket::wait_for_request(const std::function<bool(double waited)>& give_up) {
  const auto start = Clock::now();
  const auto given_up = [&] {
    return give_up(std::chrono::duration<double>(Clock::now() - start).count());
  };
  for (bool first = true;; first = false) {
    // Empty lines before a request are to be passed over (RFC 9112, 2.2).
    while (begin_ < end_ && (buffer_[begin_] == '\r' || buffer_[begin_] == '\n')) ++begin_;
    if (begin_ < end_) break;
    if (!first && given_up()) return false;  // who sends nothing but these would never be
    while (!wait(POLLIN, in(.1))) {
      if (given_up()) return false;
    }
    const ssize_t got = ::recv(descriptor_, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) return false;
    begin_ = 0;
    end_ = std::size_t(got);
  }
  read_until_ = in(seconds_);
  in_head_ = true;
  head_too_long_ = head_broken_ = timed_out_ = first_line_over_ = false;
  head_bytes_ = line_bytes_ = sent_ = 0;
  trailers_.reset();
  status_ = 0;
  return true;
}

ssize_t Socket::read(char* data, std::size_t size) {
  for (;;) {
    const ssize_t got = read_bytes(data, size);
    if (got <= 0 || !trailers_) return got;
    const std::size_t kept = trailers_->filter(data, std::size_t(got));
    if (trailers_->broken() || trailers_->too_long()) return -1;
    if (kept > 0) return ssize_t(kept);
  }
}

void Socket::check_head(char c) {
  // NUL would end the library's strings, and folded lines are long out of use (RFC 9112, 5.2).
  const bool folded = line_bytes_ == 0 && first_line_over_ && (c == ' ' || c == '\t');
  if (c == '\0' || folded) head_broken_ = true;
  if (c == '\n') first_line_over_ = true;
  line_bytes_ = c == '\n' ? 0 : line_bytes_ + 1;
  if (line_bytes_ > kMaxLine) head_too_long_ = true;
}

ssize_t Socket::read_bytes(char* data, std::size_t size) {
  // The library's lines have no limit of their own.
  if (in_head_ && ++head_bytes_ > kMaxHead) {  // it reads heads byte by byte
    head_too_long_ = true;
    return -1;
  }
  if (begin_ == end_) {
    ssize_t got = -1;
    do {
      if (!wait(POLLIN, read_until_)) {
        timed_out_ = true;
        return -1;
      }
      got = ::recv(descriptor_, buffer_.data(), buffer_.size(), 0);
    } while (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (got <= 0) return got;
    // A client that drips bytes never lets a wait end.
    if (Clock::now() > read_until_) {
      timed_out_ = true;
      return -1;
    }
    begin_ = 0;
    end_ = std::size_t(got);
  }
  const std::size_t count = std::min(size, end_ - begin_);
  std::memcpy(data, buffer_.data() + begin_, count);
  begin_ += count;
  if (in_head_) {
    check_head(*data);
    if (head_broken_) return -1;
  }
  return ssize_t(count);
}

ssize_t Socket::write(const char* data, std::size_t size) {
  if (sent_ == 0) {
    write_until_ = in(seconds_);
    // "HTTP/1.1 200 OK"; that of an interim answer is replaced by the final one.
    if (size > 12) status_ = std::atoi(data + 9);
  }
  std::size_t done = 0;
  while (done < size) {
    const ssize_t put = ::send(descriptor_, data + done, size - done, MSG_NOSIGNAL);
    if (put > 0) {
      done += std::size_t(put);
    } else if (put < 0 && errno == EAGAIN) {
      if (!wait(POLLOUT, write_until_) || Clock::now() > write_until_) return -1;
    } else if (put == 0 || errno != EINTR) {
      return -1;
    }
  }
  if (status_ != 100) sent_ += size;
  return ssize_t(size);
}

void Socket::close_gently(double seconds) {
  ::shutdown(descriptor_, SHUT_WR);
  const auto until = in(seconds);
  std::size_t drained = 0;
  while (drained < kMaxDrained && Clock::now() < until && wait(POLLIN, until)) {
    const ssize_t got = ::recv(descriptor_, buffer_.data(), buffer_.size(), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
    drained += std::size_t(std::max<ssize_t>(got, 0));
  }
}

bool Socket::is_readable() const { return begin_ < end_ || wait(POLLIN, read_until_); }
bool Socket::is_writable() const { return wait(POLLOUT, write_until_); }

std::string Socket::client() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char name[NI_MAXHOST] = "";
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::getpeername(descriptor_, any, &size) != 0) return "gone";
  if (address.ss_family == AF_UNIX) return "unix";
  const bool known = ::getnameinfo(any, size, name, sizeof name, nullptr, 0, NI_NUMERICHOST) == 0;
  return known ? name : "unknown";
}

// The library has no use for addresses.
void Socket::get_remote_ip_and_port(std::string& ip, int& port) const { ip.clear(), port = 0; }
void Socket::get_local_ip_and_port(std::string& ip, int& port) const { ip.clear(), port = 0; }

}  // namespace hh::apps
