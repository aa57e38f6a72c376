// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/serve.h"

#include <fmt/format.h>
#include <netdb.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>

#include "apps/serve/tls.h"
#include "engine/text/counted.h"
#include "kernels/core/parallel.h"

namespace hh::apps {
namespace {

constexpr double kMaxWriteWait = 5;  // seconds for another process that writes to the index

/// As bind() will read it: 127.1 and 0x7f.0.0.1 are addresses too.
bool is_loopback(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) {
    return strcasecmp(host.c_str(), "localhost") == 0;
  }
  char text[NI_MAXHOST] = "";
  ::getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  const bool v6 = found->ai_family == AF_INET6;
  ::freeaddrinfo(found);
  return is_own_machine(v6 ? "[" + std::string(text) + "]" : text);
}

}  // namespace

void serve(const ServeOptions& options, const std::function<bool()>& stop,
           const std::function<void(const std::string& line)>& started) {
  ApiOptions api_options = options.api;
  api_options.access.loopback = is_loopback(options.host);
  api_options.seconds = options.limits.seconds;
  std::optional<AccessLog> log;
  if (!options.access_log.empty()) api_options.log = &log.emplace(options.access_log);
  HttpLimits limits = options.limits;
  std::optional<TlsCertificate> tls;
  if (!options.tls_certificate.empty()) {
    limits.tls = &tls.emplace(options.tls_certificate, options.tls_key);
  }
  std::unique_ptr<pipeline::Model> model;
  if (!options.model.empty()) {
    model = pipeline::load_model(options.model, options.device, options.type);
  }
  ServedIndex index(options.index, std::min(kMaxWriteWait, options.limits.seconds), options.method);
  Compute compute(cpu::num_threads(), options.limits.seconds);
  Api api(index, std::move(model), compute, api_options);
  HttpServer server(api, limits);
  const int port = server.bind(options.host, options.port);
  const bool v6 = options.host.find(':') != std::string::npos;
  const auto state = index.state();
  started(fmt::format("{} of {} at {}://{}:{}/", counted(state->index.count(), "item"),
                      counted(state->index.bits(), "bit"), tls ? "https" : "http",
                      v6 ? "[" + options.host + "]" : options.host, port));
  server.run(stop);
}

}  // namespace hh::apps
