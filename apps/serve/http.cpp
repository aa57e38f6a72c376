// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/http.h"

#include <fmt/format.h>
#include <httplib.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "apps/serve/connections.h"
#include "apps/serve/socket.h"
#include "apps/terminal/elapsed.h"
#include "engine/device/backend.h"
#include "engine/text/json_text.h"
#include "engine/text/log.h"

namespace hh::apps {
namespace {

constexpr int kMaxRequests = 1000;  // on one connection
constexpr int kIdleSeconds = 5;     // a connection may wait between its requests
constexpr double kHandshakeSeconds = 10;
constexpr const char* kTooSlow = "the request took too long to arrive (--timeout)";
constexpr const char* kHeadTooLong = "the head of the request is too long, or a line of it";
constexpr const char* kTrailersTooLong = "the trailers of the body are too long, or a line of them";
constexpr const char* kNoHttp = "this is no request of HTTP";
constexpr int kBacklog = 512;  // connections the kernel keeps; the library's is 5

using Clock = std::chrono::steady_clock;

/// What the callbacks of the library need to know of the request they are called for.
struct Exchange {
  httplib::Request* request = nullptr;  // once its head is read
  HttpRequest ours;
  Clock::time_point start;
  std::string route = "other";
  bool close = false;  // the connection, because an unread body would be taken for a request
  const Socket* socket = nullptr;
};
thread_local Exchange* exchange = nullptr;

std::string decode(std::string_view coded, bool plus_is_blank) {
  std::string plain;
  for (std::size_t i = 0; i < coded.size(); ++i) {
    unsigned value = 0;
    const char* digits = coded.data() + i + 1;
    if (coded[i] == '%' && coded.size() - i > 2 &&
        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      plain += char(value);
      i += 2;
    } else {
      plain += coded[i] == '+' && plus_is_blank ? ' ' : coded[i];
    }
  }
  return plain;
}

/// Of "key=value&key=value", each coded. The library's own splitting drops "filter=" of
/// "filter=label=red".
std::multimap<std::string, std::string> parse_query(std::string_view text) {
  std::multimap<std::string, std::string> values;
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find('&'));
    const std::size_t equals = std::min(entry.find('='), entry.size());
    if (!entry.empty()) {
      values.emplace(decode(entry.substr(0, equals), true),
                     decode(entry.substr(std::min(equals + 1, entry.size())), true));
    }
    text.remove_prefix(std::min(entry.size() + 1, text.size()));
  }
  return values;
}

/// What follows http:// or https:// in a target; empty for others. Capitals are no difference.
std::string_view behind_scheme(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() > scheme.size() &&
        strncasecmp(target.data(), scheme.data(), scheme.size()) == 0) {
      return target.substr(scheme.size());
    }
  }
  return {};
}

HttpRequest convert(const httplib::Request& from) {
  HttpRequest to;
  to.method = from.method == "HEAD" ? "GET" : from.method;
  to.path = from.path;
  const std::size_t mark = from.target.find('?');
  if (mark != std::string::npos) {
    const std::string_view query = std::string_view(from.target).substr(mark + 1);
    to.params = parse_query(query.substr(0, query.find('#')));
  }
  to.host = from.get_header_value("Host");
  if (const std::string_view rest = behind_scheme(from.target); !rest.empty()) {
    // As proxies are asked; its host counts, whatever Host says (RFC 9112, 3.2.2).
    const std::size_t slash = std::min(rest.find_first_of("/?#"), rest.size());
    const std::string_view place = rest.substr(slash);
    to.host = rest.substr(0, slash);
    to.path = decode(place.substr(0, place.find_first_of("?#")), false);
    if (to.path.empty()) to.path = "/";
  }
  to.origin = from.get_header_value("Origin");
  to.authorization = from.get_header_value("Authorization");
  return to;
}

void fill(httplib::Response& to, const HttpResponse& from) {
  to.status = from.status;
  to.set_content(from.body, from.type);
  for (const auto& [name, value] : from.headers) to.set_header(name, value);
  exchange->route = from.route;
}

/// What is wrong with how a request says where its body ends, and whether there is one.
struct BodyForm {
  bool present = false;
  std::optional<HttpResponse> error;
};

BodyForm body_form(const httplib::Request& request, std::size_t limit) {
  const std::size_t lengths = request.get_header_value_count("Content-Length");
  const std::string coding = request.get_header_value("Transfer-Encoding");
  if (coding.empty() && lengths == 0) return {};
  BodyForm form{.present = true};
  if (!coding.empty() && (lengths > 0 || strcasecmp(coding.c_str(), "chunked") != 0)) {
    form.error = error_response(400, "Transfer-Encoding: only 'chunked', without Content-Length");
  } else if (lengths > 0) {
    const std::string text = request.get_header_value("Content-Length");
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    if (lengths > 1 || !digits) {
      form.error = error_response(400, "Content-Length isn't one number");
    } else if (text.size() > 18 || std::stoull(text) > limit) {
      form.error = error_response(
          413, fmt::format("a body of {} bytes; the limit is {} (--max-body)", text, limit));
    } else {
      form.present = std::stoull(text) > 0;
    }
  }
  return form;
}

/// What is wrong with a request's head, whatever it asks for; empty: nothing.
std::optional<HttpResponse> head_error(const httplib::Request& request) {
  if (!request.target.starts_with('/') && request.target != "*" &&
      behind_scheme(request.target).empty()) {
    return error_response(400, "what a request asks for is a path, or begins with http://");
  }
  const std::size_t hosts = request.get_header_value_count("Host");
  if (hosts > 1 || (hosts == 0 && request.version != "HTTP/1.0")) {
    return error_response(400, "a request of HTTP/1.1 has one Host header");
  }
  const std::string coding = request.get_header_value("Content-Encoding");
  for (const char* known : {"", "identity", "gzip", "deflate", "br"}) {
    if (coding == known) return std::nullopt;
  }
  return error_response(415, "Content-Encoding: gzip, deflate, br or none");
}

}  // namespace

std::optional<std::string> HttpRequest::param(const std::string& name) const {
  const auto found = params.find(name);
  if (found == params.end()) return std::nullopt;
  return found->second;
}

std::vector<std::string> HttpRequest::all(const std::string& name) const {
  std::vector<std::string> values;
  const auto [begin, end] = params.equal_range(name);
  for (auto at = begin; at != end; ++at) values.push_back(at->second);
  return values;
}

HttpResponse error_response(int status, const std::string& message) {
  // What a client sent may come back in the message, and need not be UTF-8.
  HttpResponse response{.status = status,
                        .body = json_text(nlohmann::json{{"error", message}}) + "\n"};
  if (status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

class HttpServer::Library final : public httplib::Server {
 public:
  Library(HttpApplication& application, const HttpLimits& limits)
      : application_(application), limits_(limits) {
    new_task_queue = [this] { return new Connections(limits_.concurrent); };
    // Not SO_REUSEPORT, the library's choice, by which two servers share a port unnoticed.
    set_socket_options([](int socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    // What the library tells clients of kept connections; serve() keeps to it.
    set_keep_alive_max_count(kMaxRequests);
    set_keep_alive_timeout(kIdleSeconds);
    set_pre_routing_handler([this](const auto&, auto& response) { return route(response); });
    Post("/api/(v1/)?[a-z]+(/batch)?",
         [this](const auto&, auto& response, const auto& reader) { read_body(response, reader); });
    // Whoever asks first whether a body is welcome is told without sending it.
    set_expect_100_continue_handler([this](const auto&, auto& response) {
      return route(response) == HandlerResponse::Handled ? response.status : 100;
    });
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      // The library knows but one reason to give up on a head.
      if (exchange->socket->timed_out())
        response.status = 408;
      else if (response.status == 400 && exchange->socket->head_too_long())
        response.status = 431;
      // Where such a request ends, and the next one begins, nobody knows.
      exchange->close = true;
      response.set_header("Connection", "close");
      const std::string message = response.status == 414   ? "the address is too long"
                                  : response.status == 408 ? kTooSlow
                                  : response.status == 431 ? kHeadTooLong
                                                           : kNoHttp;
      response.set_content(error_response(response.status, message).body, "application/json");
    });
  }

  int bind(const std::string& host, int port) {
    const int bound = port == 0 ? bind_to_any_port(host) : bind_to_port(host, port) ? port : -1;
    if (bound <= 0) {
      throw std::runtime_error(
          fmt::format("can't listen on {} port {}: {}", host, port,
                      errno != 0 ? std::strerror(errno) : "the address isn't this machine's"));
    }
    ::listen(svr_sock_, kBacklog);
    return bound;
  }

  void adopt(int descriptor) {
    svr_sock_ = adopted_ = descriptor;
    ::listen(descriptor, kBacklog);
    // Looks ten times a second whether it is to end: stop() would shut the socket down for who
    // handed it over, too.
    set_idle_interval(0, 100'000);
  }

  void run(const std::function<bool()>& stop_wanted) {
    // Joined whatever listening throws: a thread that is left running would end the process.
    const std::jthread watch([&](const std::stop_token& finished) {
      while (!stop_wanted() && !finished.stop_requested()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
      stopping_ = true;
      adopted_ < 0 ? stop() : void(svr_sock_ = INVALID_SOCKET);
    });
    listen_after_bind();
    if (adopted_ >= 0) ::close(adopted_);
  }

 private:
  /// Whatever goes wrong with a connection ends that connection alone.
  bool process_and_close_socket(socket_t descriptor) override {
    try {
      return process(descriptor);
    } catch (const std::exception& error) {
      log(LogLevel::kError, std::string("a connection was ended: ") + error.what());
    } catch (...) {
      log(LogLevel::kError, "a connection was ended by what is no exception");
    }
    return false;
  }

  bool process(socket_t descriptor) {
    const bool drop = treatment() == Treatment::kDrop;
    Socket socket(descriptor, limits_.seconds, drop ? nullptr : limits_.tls);
    if (drop) return false;
    if (treatment() == Treatment::kRefuse) {
      refuse(socket);
      return false;
    }
    {
      struct Active {
        std::atomic<int>& count;
        explicit Active(std::atomic<int>& active) : count(active) { ++count; }
        ~Active() { --count; }
      } const active(active_);
      const double most = std::min(limits_.seconds, kHandshakeSeconds);
      if (!socket.handshake([&](double waited, bool spoke) {
            return waited > most || (!spoke && must_give_way(waited)) || (stopping_ && waited > 1);
          })) {
        return false;
      }
      serve(socket);
    }
    socket.close_gently(stopping_ ? .1 : 1);
    return true;
  }

  /// Whether a connection that only waits makes room for others: there is little, or the end is near.
  bool must_give_way(double waited) const {
    return stopping_ || (waited > .1 && 4 * active_ >= 3 * limits_.concurrent);
  }

  /// One thread refuses all: it has no time for those who are slow, nor for those who say nothing.
  void refuse(Socket& socket) {
    if (!socket.handshake([](double waited, bool spoke) { return waited > (spoke ? .2 : .04); })) {
      return;
    }
    answer_raw(socket, 503,
               fmt::format("{} connections are served already (--max-concurrent); try again",
                           limits_.concurrent),
               Clock::now());
    socket.close_gently(.05);
  }

  void serve(Socket& socket) {
    for (int i = 1; i <= kMaxRequests; ++i) {
      const auto give_up = [&](double waited) {
        return waited > kIdleSeconds || must_give_way(waited);
      };
      if (!socket.wait_for_request(give_up)) return;
      Exchange current{.start = Clock::now(), .socket = &socket};
      exchange = &current;
      struct Forget {
        ~Forget() { exchange = nullptr; }
      } const forget;
      bool closed = false;
      const auto head_read = [&](httplib::Request& request) {
        socket.head_is_read(!request.get_header_value("Transfer-Encoding").empty());
        current.request = &request;
        current.ours = convert(request);
        request.path = current.ours.path;
        // The library's parser of forms takes time and memory without bounds; ours does it. Parts
        // of answers and compressed ones aren't worth the library's code for them.
        current.ours.content_type = request.get_header_value("Content-Type");
        for (const char* name : {"Content-Type", "Range", "Accept-Encoding"}) {
          request.headers.erase(name);
        }
        request.ranges.clear();
      };
      const bool last = i == kMaxRequests || stopping_;
      const bool done = process_request(socket, last, closed, head_read);
      if (!done && socket.sent() == 0) {
        if (socket.head_too_long()) {
          answer_raw(socket, 431, kHeadTooLong, current.start);
        } else if (socket.timed_out()) {
          answer_raw(socket, 408, kTooSlow, current.start);
        } else if (socket.head_broken()) {
          answer_raw(socket, 400, kNoHttp, current.start);
        } else {
          answer_raw(socket, 400, "the request ended early", current.start);
        }
        return;
      }
      if (socket.sent() > 0) {
        told(socket, current.route, current.start);
      }
      if (!done || closed || current.close) return;
    }
  }

  void told(const Socket& socket, const std::string& route, Clock::time_point start) {
    HttpAnswered answered{.route = route,
                          .client = socket.client(),
                          .status = socket.status(),
                          .bytes = socket.sent(),
                          .seconds = seconds_since(start)};
    if (exchange != nullptr && exchange->request != nullptr) {
      answered.method = exchange->request->method;
      // Other targets, as a proxy's, may hold who asks and by which password.
      const std::string& path = exchange->ours.path;
      if (path.starts_with('/') || path == "*") answered.path = path;
    }
    application_.answered(answered);
  }

  /// For what the library has no answer.
  void answer_raw(Socket& socket, int status, const std::string& message, Clock::time_point start) {
    const std::string body = error_response(status, message).body;
    const char* reason = status == 503   ? "Service Unavailable"
                         : status == 408 ? "Request Timeout"
                         : status == 431 ? "Request Header Fields Too Large"
                                         : "Bad Request";
    const std::string text = fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}"
        "Connection: close\r\n\r\n{}",
        status, reason, body.size(), status == 503 ? "Retry-After: 1\r\n" : "", body);
    static_cast<httplib::Stream&>(socket).write(text.data(), text.size());
    told(socket, "other", start);
  }

  template <class Answer>
  HttpResponse guarded(const Answer& answer) {
    try {
      return answer();
    } catch (const std::bad_alloc&) {
      return error_response(503, "out of memory; try again");
    } catch (const OutOfMemory& error) {
      return error_response(503, error.what());
    } catch (const std::exception& error) {
      return error_response(500, error.what());
    } catch (...) {
      return error_response(500, "an error of the server itself");
    }
  }

  /// Everything but bodies, before the library matches paths by its regular expressions.
  HandlerResponse route(httplib::Response& response) {
    httplib::Request& request = *exchange->request;
    BodyForm form = body_form(request, limits_.body);
    if (auto error = head_error(request); error && !form.error) form.error = std::move(error);
    if (form.error) {
      fill(response, *form.error);
    } else {
      std::optional<HttpResponse> answer;
      const HttpResponse failure = guarded([&] {
        answer = application_.before_body(exchange->ours);
        return HttpResponse{};
      });
      if (failure.status != 200) answer = failure;
      if (!answer && request.method != "POST") answer = error_response(405, "send it by POST");
      if (!answer && !form.present) answer = error_response(411, "there is no body");
      if (!answer) return HandlerResponse::Unhandled;
      fill(response, *answer);
    }
    if (form.present) close_after(request);
    return HandlerResponse::Handled;
  }

  void read_body(httplib::Response& response, const httplib::ContentReader& reader) {
    std::string& body = exchange->ours.body;
    bool too_long = false;
    const bool whole = reader([&](const char* data, std::size_t size) {
      too_long = size > limits_.body - body.size();
      if (!too_long) body.append(data, size);
      return !too_long;
    });
    if (whole && !too_long) {
      fill(response, guarded([&] { return application_.with_body(exchange->ours); }));
      return;
    }
    close_after(*exchange->request);
    fill(response,
         too_long ? error_response(413, fmt::format("the body is longer than {} bytes (--max-body)",
                                                    limits_.body))
         : exchange->socket->trailers_too_long() ? error_response(431, kTrailersTooLong)
         : exchange->socket->timed_out()
             ? error_response(408, kTooSlow)
             : error_response(400, "the body ended early or isn't coded as the head says"));
  }

  static void close_after(httplib::Request& request) {
    exchange->close = true;
    request.headers.erase("Connection");
    request.set_header("Connection", "close");
  }

  HttpApplication& application_;
  HttpLimits limits_;
  int adopted_ = -1;
  std::atomic<int> active_ = 0;
  std::atomic<bool> stopping_ = false;
};

HttpServer::HttpServer(HttpApplication& application, const HttpLimits& limits)
    : library_(std::make_unique<Library>(application, limits)) {}
HttpServer::~HttpServer() = default;

int HttpServer::bind(const std::string& host, int port) { return library_->bind(host, port); }
void HttpServer::adopt(int descriptor) { library_->adopt(descriptor); }
void HttpServer::run(const std::function<bool()>& stop) { library_->run(stop); }

}  // namespace hh::apps
