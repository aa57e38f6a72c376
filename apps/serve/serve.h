// SPDX-License-Identifier: Apache-2.0
// The API of `hybridhash serve`: what each path answers. docs/serving.md has it for users.
#pragma once
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>

#include "apps/report/thumbnail.h"
#include "apps/serve/http.h"
#include "apps/serve/metrics.h"
#include "apps/serve/served_index.h"
#include "pipeline/model_file.h"

namespace hh::apps {

struct ServerOptions {
  std::string token;       // writes need it; empty: none
  bool loopback = true;    // only this machine reaches the server
  bool read_only = false;  // no writes at all
  bool exif = false;       // turn pictures as their EXIF data says
  std::string image_root;  // what the items' paths start from
  std::int64_t max_pixels = 0;
  double seconds = 30;  // that a request may wait for its turn
};

class Server final : public HttpApplication {
 public:
  /// `model` may be null: then pictures are refused. Throws std::invalid_argument when the index
  /// holds another model's codes.
  Server(ServedIndex& index, std::unique_ptr<pipeline::Model> model, const ServerOptions& options);
  ~Server() override;

  std::optional<HttpResponse> before_body(const HttpRequest& request) override;
  HttpResponse with_body(const HttpRequest& request) override;
  void answered(const std::string& route, int status, double seconds) override;

 private:
  struct Upload;
  struct Answers;

  /// Throws ApiError.
  void check_site(const HttpRequest& request) const;
  void check_write(const HttpRequest& request) const;
  Upload upload(const HttpRequest& request) const;
  std::vector<float> encode(std::string_view picture);

  HttpResponse info();
  HttpResponse search(const HttpRequest& request);
  HttpResponse search_picture(const HttpRequest& request);
  HttpResponse encode_picture(const HttpRequest& request);
  HttpResponse add(const HttpRequest& request);
  HttpResponse remove(std::int64_t id);
  HttpResponse item(std::int64_t id);
  HttpResponse picture(std::int64_t id);

  ServedIndex& index_;
  std::unique_ptr<pipeline::Model> model_;
  ServerOptions options_;
  ServerMetrics metrics_;
  std::timed_mutex network_;              // one picture at a time: its kernels use all threads
  std::counting_semaphore<64> decoders_;  // a decoded picture is large
  std::mutex thumbnails_mutex_;
  Thumbnails thumbnails_;
};

}  // namespace hh::apps
