// SPDX-License-Identifier: Apache-2.0
// HTTP for `hybridhash serve`: cpp-httplib's protocol code on sockets that are read and written
// here, because the library alone bounds neither the time nor the memory a client can take: its
// timeout starts anew with every byte, and lines, chunked and compressed bodies may be endless.
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hh::apps {

class TlsCertificate;

struct HttpRequest {
  std::string method;  // HEAD comes as GET
  std::string path;    // decoded, without the query
  std::multimap<std::string, std::string> params;
  std::string content_type, host, origin, authorization;
  std::string body;

  /// The first of that name.
  std::optional<std::string> param(const std::string& name) const;
  std::vector<std::string> all(const std::string& name) const;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string route = "other";  // for the metrics: of a fixed set, whatever clients send
};

/// {"error": message}; of status 503 with Retry-After.
HttpResponse error_response(int status, const std::string& message);

/// What happened to a request.
struct HttpAnswered {
  std::string route;   // of HttpResponse
  std::string client;  // its address; "unix" where it has none
  std::string method,
      path;  // as asked for, the path decoded and without the query; empty where nobody could read them
  int status = 0;
  std::size_t bytes = 0;  // of the answer, its head included
  double seconds = 0;     // since the request's first byte
};

struct HttpLimits {
  std::size_t body = std::size_t{32} << 20;  // bytes, also after decompression
  int concurrent = 64;                       // connections served at once; others get 503
  double seconds = 30;                       // for reading a request, and again for its answer
  TlsCertificate* tls = nullptr;             // kept; null: plain HTTP
};

/// What answers requests. Called from many threads.
class HttpApplication {
 public:
  virtual ~HttpApplication() = default;
  /// The answer of a request, or nothing where its body is needed first. The body is still unread.
  virtual std::optional<HttpResponse> before_body(const HttpRequest& request) = 0;
  virtual HttpResponse with_body(const HttpRequest& request) = 0;
  /// After each answer.
  virtual void answered(const HttpAnswered& answered) = 0;
};

class HttpServer {
 public:
  /// Keeps the reference.
  HttpServer(HttpApplication& application, const HttpLimits& limits);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Port 0: any that is free. Returns the port. Throws std::runtime_error when it can't be had.
  int bind(const std::string& host, int port);
  /// In place of bind(): a socket that is bound, which this listens on, and closes.
  void adopt(int descriptor);
  /// Serves until `stop` says so, which is asked a few times a second; then takes no more
  /// connections, finishes the requests that run, and returns. Call it once.
  void run(const std::function<bool()>& stop);

 private:
  class Library;
  std::unique_ptr<Library> library_;
};

}  // namespace hh::apps
