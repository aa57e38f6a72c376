// SPDX-License-Identifier: Apache-2.0
// The API of `hybridhash serve`: what each path answers. docs/serving.md has it for users.
#pragma once
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <semaphore>
#include <span>
#include <string>
#include <vector>

#include "apps/report/thumbnail.h"
#include "apps/serve/access.h"
#include "apps/serve/access_log.h"
#include "apps/serve/api_search.h"
#include "apps/serve/compute.h"
#include "apps/serve/http.h"
#include "apps/serve/metrics.h"
#include "apps/serve/new_items.h"
#include "apps/serve/served.h"
#include "pipeline/model_file.h"

namespace hh::apps {

struct ApiOptions {
  AccessRules access;
  std::string image_root;       // what the items' paths start from
  std::int64_t max_pixels = 0;  // of a picture; 0: no limit
  double seconds = 30;          // that a picture may wait for the network
  AccessLog* log = nullptr;     // kept; null: none
  bool mix_int8 = false;        // the model's codes may be of int8 where the index's aren't
};

class Api final : public HttpApplication {
 public:
  /// Keeps the references. `model` may be null: then pictures are refused. Throws
  /// std::invalid_argument when the index holds another model's codes.
  Api(Served& served, std::unique_ptr<pipeline::Model> model, Compute& compute,
      const ApiOptions& options);
  ~Api() override;

  std::optional<HttpResponse> before_body(const HttpRequest& request) override;
  HttpResponse with_body(const HttpRequest& request) override;
  void answered(const HttpAnswered& answered) override;

 private:
  HttpResponse without_body(const HttpRequest& request, const std::string& route);
  void require_model() const;
  /// Throws where the index has been replaced by one of another model meanwhile.
  void require_model_of(const ServedItems& served) const;
  /// The network's outputs for a picture that is decoded here.
  std::vector<float> encode(std::string_view picture);
  std::vector<float> encode(const data::Image& image);

  HttpResponse info();
  HttpResponse search(const HttpRequest& request);
  HttpResponse search_picture(const HttpRequest& request);
  HttpResponse encode_picture(const HttpRequest& request);
  HttpResponse search_batch(const HttpRequest& request);
  HttpResponse found(const ServedItems& served, const ApiQuery& query,
                     const SearchParameters& parameters, double encode_seconds = 0);
  HttpResponse add(const HttpRequest& request);
  HttpResponse add_batch(const HttpRequest& request);
  /// Adds them, all or none. The answer for each.
  nlohmann::json added(std::span<const NewItem> items, bool replace, const std::string& model_hash);
  HttpResponse remove(std::int64_t id);
  HttpResponse item(std::int64_t id);
  HttpResponse picture(const HttpRequest& request);
  HttpResponse ready();

  Served& served_;
  std::unique_ptr<pipeline::Model> model_;
  Compute& compute_;
  ApiOptions options_;
  data::DecodeOptions decode_;  // of pictures for the model
  ServerMetrics metrics_;
  std::timed_mutex network_;              // one picture at a time
  std::counting_semaphore<64> decoders_;  // a decoded picture is large
  Thumbnails thumbnails_;
};

}  // namespace hh::apps
