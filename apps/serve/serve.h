// SPDX-License-Identifier: Apache-2.0
// The server put together: index, model, API and HTTP, until it is told to stop.
#pragma once
#include <functional>
#include <string>

#include "apps/serve/api.h"
#include "apps/serve/http.h"
#include "engine/device/device.h"
#include "engine/tensor/network_type.h"
#include "retrieval/engines/open_collection.h"

namespace hh::apps {

struct ServeOptions {
  std::string index;  // folder; empty: the collection is served
  retrieval::CollectionPlace collection;
  std::string model;            // file; empty: pictures are refused
  std::string method = "auto";  // of searches: auto, scan or multi-index (tables.h)
  std::string host = "127.0.0.1";
  int port = 8080;          // 0: any that is free
  std::string unix_socket;  // in place of both: the path of a socket; empty: none
  mode_t unix_mode = 0660;
  Device device = kCpu;           // of the network
  NetworkType type = DType::f32;  // of the network
  HttpLimits limits;
  std::string tls_certificate, tls_key;  // files; empty: plain HTTP
  std::string access_log;                // file, "-": stdout; empty: none
  ApiOptions api;                        // access.loopback and seconds follow from these
};

/// Serves until `stop` says so, on the socket that systemd hands over (listening.h), else where the
/// options say, on cpu::num_threads() threads however many connections there are.
/// `started` gets one line with the address once it listens. Throws what opening the index and the
/// model, and taking the port, throw.
void serve(const ServeOptions& options, const std::function<bool()>& stop,
           const std::function<void(const std::string& line)>& started);

}  // namespace hh::apps
