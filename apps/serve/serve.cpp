// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/serve.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/parallel.h"

namespace hh::apps {
namespace {

constexpr double kMaxWriteWait = 5;  // seconds for another process that writes to the index

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "localhost" || host == "::1";
}

}  // namespace

void serve(const ServeOptions& options, const std::function<bool()>& stop,
           const std::function<void(const std::string& line)>& started) {
  ApiOptions api_options = options.api;
  api_options.access.loopback = is_loopback(options.host);
  api_options.seconds = options.limits.seconds;
  std::unique_ptr<pipeline::Model> model;
  if (!options.model.empty()) {
    model = pipeline::load_model(options.model, options.device, options.dtype);
  }
  ServedIndex index(options.index, std::min(kMaxWriteWait, options.limits.seconds), options.method);
  Compute compute(cpu::num_threads(), options.limits.seconds);
  Api api(index, std::move(model), compute, api_options);
  HttpServer server(api, options.limits);
  const int port = server.bind(options.host, options.port);
  const bool v6 = options.host.find(':') != std::string::npos;
  const auto state = index.state();
  started(fmt::format("{} items of {} bits at http://{}:{}/", state->index.count(),
                      state->index.bits(), v6 ? "[" + options.host + "]" : options.host, port));
  server.run(stop);
}

}  // namespace hh::apps
