// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "apps/terminal/elapsed.h"

namespace hh::apps {
namespace {
static_assert(kMaxLine == CPPHTTPLIB_HEADER_MAX_LENGTH);  // where the library gives up
constexpr std::size_t kBuffer = std::size_t{16} << 10;
constexpr std::size_t kMaxDrained = std::size_t{256} << 20;
}  // namespace

Socket::Socket(int descriptor, double seconds, TlsCertificate* certificate)
    : descriptor_{descriptor}, seconds_(seconds), buffer_(kBuffer) {
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  // Head and body of an answer are sent one after the other: without this the second waits for
  // the client's delayed acknowledgement.
  const int yes = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  read_until_ = write_until_ = in(seconds);
  client_ = address_of_client();  // while it is there
  if (certificate != nullptr) tls_ = certificate->session(descriptor);
}

bool Socket::handshake(const std::function<bool(double waited, bool spoke)>& give_up) {
  if (!tls_) return true;
  const auto start = Clock::now();
  for (;;) {
    ERR_clear_error();
    const int done = SSL_accept(tls_.get());
    if (done == 1) return true;
    const int error = SSL_get_error(tls_.get(), done);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) break;
    const bool spoke = BIO_number_read(SSL_get_rbio(tls_.get())) > 0;
    // Asked also where something came: a client that drips bytes never lets a wait end.
    if (give_up(seconds_since(start), spoke)) break;
    wait(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, in(.05));
  }
  ERR_clear_error();
  tls_.reset();  // nothing more can be said by it
  return false;
}

ssize_t Socket::tls_result(int done, std::size_t count) {
  if (done == 1) return ssize_t(count);
  const int error = SSL_get_error(tls_.get(), done);
  ERR_clear_error();
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
  return -1;
}

ssize_t Socket::receive(char* data, std::size_t size) {
  if (!tls_) return ::recv(descriptor_, data, size, 0);
  std::size_t count = 0;
  ERR_clear_error();
  const int done = SSL_read_ex(tls_.get(), data, size, &count);
  receive_event_ = SSL_want_write(tls_.get()) ? POLLOUT : POLLIN;
  return tls_result(done, count);
}

ssize_t Socket::put(const char* data, std::size_t size) {
  if (!tls_) return ::send(descriptor_, data, size, MSG_NOSIGNAL);
  std::size_t count = 0;
  ERR_clear_error();
  const int done = SSL_write_ex(tls_.get(), data, size, &count);
  put_event_ = SSL_want_read(tls_.get()) ? POLLIN : POLLOUT;
  return tls_result(done, count);
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
  const auto given_up = [&] { return give_up(seconds_since(start)); };
  for (bool first = true;; first = false) {
    // Empty lines before a request are to be passed over (RFC 9112, 2.2).
    while (begin_ < end_ && (buffer_[begin_] == '\r' || buffer_[begin_] == '\n')) ++begin_;
    if (begin_ < end_) break;
    if (!first && given_up()) return false;  // who sends nothing but these would never be
    ssize_t got = 0;
    // TLS may have what it received already, so that no wait would end.
    while ((got = receive(buffer_.data(), buffer_.size())) < 0) {
      if (errno != EAGAIN && errno != EINTR) return false;
      if (!wait(receive_event_, in(.1)) && given_up()) return false;
    }
    if (got == 0) return false;
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
    ssize_t got = 0;
    while ((got = receive(buffer_.data(), buffer_.size())) < 0) {
      if (errno != EAGAIN && errno != EINTR) return got;
      if (!wait(receive_event_, read_until_)) {
        timed_out_ = true;
        return -1;
      }
    }
    if (got == 0) return got;
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
    const ssize_t count = put(data + done, size - done);
    if (count > 0) {
      done += std::size_t(count);
    } else if (count < 0 && errno == EAGAIN) {
      if (!wait(put_event_, write_until_) || Clock::now() > write_until_) return -1;
    } else if (count == 0 || errno != EINTR) {
      return -1;
    }
  }
  if (status_ != 100) sent_ += size;
  return ssize_t(size);
}

void Socket::close_gently(double seconds) {
  if (tls_) {
    ERR_clear_error();
    SSL_shutdown(tls_.get());  // says so, as far as there is room
    ERR_clear_error();
  }
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

std::string Socket::address_of_client() const {
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
