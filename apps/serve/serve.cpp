// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/serve.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/serve/listening.h"
#include "apps/serve/served_collection.h"
#include "apps/serve/served_index.h"
#include "apps/serve/tls.h"
#include "engine/text/counted.h"
#include "kernels/core/parallel.h"

namespace hh::apps {
namespace {

constexpr double kMaxWriteWait = 5;  // seconds for another process that changes the items

/// Takes the socket that the options, or who started this, mean. Returns its address for people.
std::string listen_on(HttpServer& server, const ServeOptions& options,
                      std::optional<int> handed_over, std::optional<UnixSocket>& file) {
  const std::string scheme = options.tls_certificate.empty() ? "http" : "https";
  if (handed_over || !options.unix_socket.empty()) {
    if (!handed_over) file.emplace(options.unix_socket, options.unix_mode);
    const int descriptor = handed_over ? *handed_over : file->descriptor();
    server.adopt(descriptor);
    const BoundTo place = bound_to(descriptor);
    return place.file ? scheme + "+unix:" + place.address : scheme + "://" + place.address + "/";
  }
  const int port = server.bind(options.host, options.port);
  const bool v6 = options.host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}/", scheme, v6 ? "[" + options.host + "]" : options.host, port);
}

std::unique_ptr<Served> open_served(const ServeOptions& options,
                                    const std::function<bool()>& stop) {
  const double wait = std::min(kMaxWriteWait, options.limits.seconds);
  if (!options.index.empty()) {
    return std::make_unique<ServedIndex>(options.index, wait, options.method);
  }
  return std::make_unique<ServedCollection>(
      [place = options.collection, stop] { return retrieval::open_collection(place, stop); }, wait);
}

}  // namespace

void serve(const ServeOptions& options, const std::function<bool()>& stop,
           const std::function<void(const std::string& line)>& started) {
  ApiOptions api_options = options.api;
  const std::optional<int> handed_over = handed_over_socket();
  api_options.access.loopback = handed_over                   ? bound_to(*handed_over).loopback
                                : options.unix_socket.empty() ? is_loopback(options.host)
                                                              : false;
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
  const std::unique_ptr<Served> served = open_served(options, stop);
  Compute compute(cpu::num_threads(), options.limits.seconds);
  Api api(*served, std::move(model), compute, api_options);
  HttpServer server(api, limits);
  std::optional<UnixSocket> file;
  const std::string address = listen_on(server, options, handed_over, file);
  const auto state = served->state();
  started(fmt::format("{} of {} at {}", counted(state->count(), "item"),
                      counted(state->about().bits, "bit"), address));
  server.run(stop);
}

}  // namespace hh::apps
