// SPDX-License-Identifier: Apache-2.0
// A connection of the server: reads and writes with a deadline for the whole request, and with a
// limit on its head.
#pragma once
#include <httplib.h>
#include <poll.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/serve/tls.h"
#include "apps/serve/trailers.h"

namespace hh::apps {

class Socket final : public httplib::Stream {
 public:
  /// Closes the descriptor at its end. With `certificate` all that passes is TLS.
  Socket(int descriptor, double seconds, TlsCertificate* certificate = nullptr);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// TLS's. True where there is nothing to do; false: the client is gone, or `give_up(seconds
  /// waited, whether it has sent anything)` was true; it is asked at once, and then twenty times a second.
  bool handshake(const std::function<bool(double waited, bool spoke)>& give_up);
  /// Waits for the first byte of a request and starts its time. False: the client is gone, or
  /// `give_up(seconds waited)` was true; it is asked ten times a second.
  bool wait_for_request(const std::function<bool(double waited)>& give_up);
  /// The head is complete, and its limit no longer counts. Trailers of a chunked body are left out.
  void head_is_read(bool chunked) {
    in_head_ = false;
    if (chunked) trailers_.emplace();
  }
  bool head_too_long() const { return head_too_long_; }
  bool trailers_too_long() const { return trailers_ && trailers_->too_long(); }
  /// A NUL or a folded line is in the head.
  bool head_broken() const { return head_broken_; }
  bool timed_out() const { return timed_out_; }
  /// Bytes of the answer so far, and its status.
  std::size_t sent() const { return sent_; }
  int status() const { return status_; }
  /// The other side's address; "unix" where it has none.
  const std::string& client() const { return client_; }
  /// Ends the connection so that the client still gets the answer: takes what it sends for so many
  /// seconds at most. (Closing with unread data would make its kernel drop what we sent.)
  void close_gently(double seconds);

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* data, std::size_t size) override;
  ssize_t write(const char* data, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return descriptor_; }

 private:
  using Clock = std::chrono::steady_clock;
  ssize_t read_bytes(char* data, std::size_t size);
  /// As recv() and send() of a socket that doesn't wait, by TLS where that is spoken. Errors of it
  /// are EPROTO.
  ssize_t receive(char* data, std::size_t size);
  ssize_t put(const char* data, std::size_t size);
  ssize_t tls_result(int done, std::size_t count);
  std::string address_of_client() const;
  void check_head(char c);
  /// Whether data or room came before `until`.
  bool wait(short events, Clock::time_point until) const;
  Clock::time_point in(double seconds) const;

  /// Closed also where the constructor throws.
  struct Descriptor {
    int value;
    ~Descriptor();
    operator int() const { return value; }
  };

  Descriptor descriptor_;
  TlsSession tls_;  // null: none
  // What receive() and put() wait for: TLS may have to send before it receives, and the other way.
  short receive_event_ = POLLIN, put_event_ = POLLOUT;
  double seconds_;
  Clock::time_point read_until_, write_until_;
  std::string client_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of what was received and not read yet
  std::size_t head_bytes_ = 0, line_bytes_ = 0, sent_ = 0;
  std::optional<TrailerFilter> trailers_;
  int status_ = 0;
  bool in_head_ = true, head_too_long_ = false, head_broken_ = false, timed_out_ = false;
  bool first_line_over_ = false;
};

}  // namespace hh::apps
