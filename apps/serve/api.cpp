// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/api.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/serve/answer.h"
#include "apps/serve/api_items.h"
#include "apps/serve/page.h"
#include "apps/serve/routes.h"
#include "apps/serve/upload.h"
#include "apps/terminal/elapsed.h"
#include "data/images/decode.h"
#include "kernels/core/check.h"
#include "pipeline/data_source.h"
#include "pipeline/pixel_encoder.h"

namespace hh::apps {
namespace {

using nlohmann::json;
using retrieval::PackedCodes;

/// What a request may bring.
const std::vector<std::string>& values_of(const HttpRequest& request) {
  return route_of(request.path).method(request.method)->values;
}

HttpResponse page_response(const std::string& path) {
  HttpResponse response{.body = path == "/"          ? kPageHtml
                                : path == "/page.js" ? kPageJs
                                                     : kPageCss,
                        .type = path == "/"          ? "text/html; charset=utf-8"
                                : path == "/page.js" ? "text/javascript; charset=utf-8"
                                                     : "text/css; charset=utf-8"};
  response.headers = {{"Cache-Control", "no-cache"},
                      {"Content-Security-Policy",
                       "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
                       "blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors 'none'"}};
  return response;
}

}  // namespace

Api::Api(Served& served, std::unique_ptr<pipeline::Model> model, Compute& compute,
         const ApiOptions& options)
    : served_(served),
      model_(std::move(model)),
      compute_(compute),
      options_(options),
      decoders_(std::clamp(compute.threads(), 2, 64)),
      thumbnails_(
          {.image_root = options.image_root,
           .exif_orientation = model_ ? model_->info.exif_orientation
                                      : served.state()->about().exif_orientation.value_or(true),
           .max_pixels = std::max(options.max_pixels, data::DecodeOptions{}.max_pixels),
           .side = 240}) {
  if (!model_) return;
  decode_ = pipeline::decode_options(model_->info, "the model", {});
  decode_.max_pixels = options.max_pixels;
  const auto held = served_.state();
  held->about().check_belongs(
      model_->info.config.bits, model_->hash,
      options.mix_int8 ? retrieval::Int8Codes::kMixed : retrieval::Int8Codes::kApart);
  // What is added counts as the index's own.
  if (!held->about().model_hash.empty()) model_->hash = held->about().model_hash;
  // The first picture takes seconds, in which the kernels are chosen: before anyone waits for it.
  data::Image blank;
  blank.reshape(model_->info.transform.size, model_->info.transform.size, 3);
  encode(blank);
}

Api::~Api() = default;

void Api::answered(const HttpAnswered& answered) {
  metrics_.observe(answered.route, answered.status, answered.seconds);
  if (options_.log != nullptr) options_.log->write(answered);
}

std::optional<HttpResponse> Api::before_body(const HttpRequest& request) {
  const Route& route = route_of(request.path);
  constexpr int kBodyFirst = 0;  // in place of a status
  HttpResponse answer = answered_as(route.path.empty() ? "other" : route.name, [&] {
    check_site(options_.access, request);
    if (route.path.empty()) throw ApiError{404, "there is nothing at this address"};
    if (route.method(request.method) == nullptr) {
      throw ApiError{405, "this address takes " + route.methods[0].name +
                              (route.methods.size() > 1 ? " and " + route.methods[1].name : "")};
    }
    // Whether it lives may be asked by who knows no token.
    if (route.name != "/healthz" && route.name != "/readyz") check_read(options_.access, request);
    if (route.path.starts_with("/api/")) check_names(request.params, values_of(request));
    if (request.method != "POST") return without_body(request, route.name);
    if (route.name.starts_with("/api/items")) check_write(options_.access, request);
    if (!route.name.ends_with("/batch")) require_model();  // batches need not be of pictures
    return HttpResponse{.status = kBodyFirst};
  });
  if (answer.status == kBodyFirst) return std::nullopt;
  answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return answer;
}

HttpResponse Api::without_body(const HttpRequest& request, const std::string& route) {
  if (request.method == "DELETE") {
    check_write(options_.access, request);
    return remove(id_of(request.path));
  }
  if (route == "page") return page_response(request.path);
  if (route == "/healthz") return {.body = "ok\n", .type = "text/plain"};
  if (route == "/readyz") return ready();
  if (route == "/metrics") {
    const auto state = served_.state();
    return {.body = metrics_.text(state->count(), state->rows()),
            .type = "text/plain; version=0.0.4"};
  }
  if (route == "/api/openapi.json") return {.body = kOpenApi};
  if (route == "/api/info") return info();
  if (route == "/api/search") return search(request);
  if (route == "/api/items") return json_response(list_items(*served_.state(), request));
  if (route == "/api/items/random") {
    return json_response(random_items(*served_.state(), request));
  }
  return route == "/api/items/N/image" ? picture(request) : item(id_of(request.path));
}

HttpResponse Api::with_body(const HttpRequest& request) {
  const std::string& route = route_of(request.path).name;
  return answered_as(route, [&] {
    if (route == "/api/encode") return encode_picture(request);
    if (route == "/api/search") return search_picture(request);
    if (route == "/api/search/batch") return search_batch(request);
    if (route == "/api/items/batch") return add_batch(request);
    return add(request);
  });
}

HttpResponse Api::ready() {
  served_.check_there();
  if (model_) require_model_of(*served_.state());
  return {.body = "ready\n", .type = "text/plain"};
}

void Api::require_model() const {
  if (model_) return;
  throw ApiError{501,
                 "the server was started without --model, so pictures can't be encoded: search "
                 "by id or code, or start it with the model"};
}

void Api::require_model_of(const ServedItems& served) const {
  const std::string& made_by = served.about().model_hash;
  if (served.about().bits == model_->info.config.bits &&
      (made_by.empty() || made_by == model_->hash)) {
    return;
  }
  throw ApiError{503, "the index was made anew by the model " + made_by +
                          ", and this server has another: start it anew with that one"};
}

std::vector<float> Api::encode(std::string_view picture) {
  const auto wait = std::chrono::duration<double>(options_.seconds);
  if (!decoders_.try_acquire_for(wait)) {
    throw ComputeBusy("too many pictures are being encoded; try again");
  }
  struct Release {
    std::counting_semaphore<64>& semaphore;
    ~Release() { semaphore.release(); }
  } const release{decoders_};
  data::Image image;
  compute_.on_one_thread([&] {
    image = data::decode_image(
        {reinterpret_cast<const std::uint8_t*>(picture.data()), picture.size()}, decode_);
  });
  return encode(image);
}

std::vector<float> Api::encode(const data::Image& image) {
  const std::unique_lock lock(network_, std::chrono::duration<double>(options_.seconds));
  if (!lock) throw ComputeBusy("too many pictures are being encoded; try again");
  std::vector<float> outputs;
  const auto work = [&] { outputs = pipeline::encode_image(*model_, image); };
  if (model_->device == kCpu) {
    compute_.on_all_threads(work);
  } else {
    compute_.on_one_thread(work);
  }
  return outputs;
}

HttpResponse Api::info() {
  const auto state = served_.state();
  const auto& about = state->about();
  json classes = json::array();
  for (int c = 0; c < about.classes; ++c) classes.push_back(about.class_name(c));
  return json_response({{"items", state->count()},
                        {"bits", about.bits},
                        {"classes", classes},
                        {"model_hash", about.model_hash},
                        {"source", about.source},
                        {"takes_pictures", model_ != nullptr},
                        {"keeps_outputs", state->keeps_outputs()},
                        {"changes", changes_take(options_.access)},
                        {"max_k", kMaxK}});
}

HttpResponse Api::search(const HttpRequest& request) {
  const auto state = served_.state();
  const Values sent(request.params, values_of(request));
  const SearchParameters parameters(*state, sent);
  return found(*state, query_of(*state, sent), parameters);
}

HttpResponse Api::search_picture(const HttpRequest& request) {
  const Upload sent(request, values_of(request));
  const auto state = served_.state();
  require_model_of(*state);
  const SearchParameters parameters(*state, sent);
  const auto start = std::chrono::steady_clock::now();
  const ApiQuery query = query_of(*state, encode(sent.picture()), sent);
  return found(*state, query, parameters, seconds_since(start));
}

HttpResponse Api::found(const ServedItems& served, const ApiQuery& query,
                        const SearchParameters& parameters, double encode_seconds) {
  ApiAnswers all = search_all(served, std::span(&query, 1), parameters, compute_);
  json& answer = all.answers[0];
  answer["method"] = all.method;
  answer["search_seconds"] = all.seconds;
  if (encode_seconds > 0) answer["encode_seconds"] = encode_seconds;
  return json_response(answer);
}

HttpResponse Api::encode_picture(const HttpRequest& request) {
  const std::vector<float> outputs = encode(Upload(request, values_of(request)).picture());
  json answer = code_json(PackedCodes::from_floats(outputs, 1, int(outputs.size())));
  answer["outputs"] = outputs;
  answer["model_hash"] = model_->hash;
  return json_response(answer);
}

HttpResponse Api::add(const HttpRequest& request) {
  const Upload sent(request, values_of(request));
  const auto state = served_.state();
  require_model_of(*state);
  NewItem item = new_item(*state, sent);
  const bool replace = replace_wanted(sent);
  check_ids(has_item(*state), std::span(&item, 1), replace);  // before the work
  item.take(encode(sent.picture()));
  return json_response(added(std::span(&item, 1), replace, model_->hash)[0], 201);
}

json Api::added(std::span<const NewItem> items, bool replace, const std::string& model_hash) {
  const auto check = [&](const HasItem& has) { check_ids(has, items, replace); };
  const auto ids = served_.add(item_set(items, model_hash), items[0].id < 0, check);
  json answer = json::array();
  for (std::size_t i = 0; i < items.size(); ++i) {
    answer.push_back(code_json(items[i].code));
    answer.back()["id"] = ids[i];
  }
  return answer;
}

HttpResponse Api::remove(std::int64_t id) {
  if (!served_.remove(id)) {
    throw ApiError{404, "the index has no item with id " + std::to_string(id)};
  }
  return json_response({{"deleted", id}});
}

HttpResponse Api::item(std::int64_t id) {
  const auto state = served_.state();
  const auto item = state->item(id);
  if (!item) throw ApiError{404, "the index has no item with id " + std::to_string(id)};
  return json_response(item_json(*state, *item));
}

HttpResponse Api::picture(const HttpRequest& request) {
  const auto state = served_.state();
  const std::int64_t id = id_of(request.path);
  const auto item = state->item(id);
  if (!item) throw ApiError{404, "the index has no item with id " + std::to_string(id)};
  constexpr int kSmallest = 16, kLargest = 4096;
  const auto wanted = request.param("side");
  const int side = wanted ? int(number("side", *wanted, kSmallest, kLargest)) : 0;
  Thumbnail thumbnail;
  compute_.on_one_thread([&] { thumbnail = thumbnails_.of(item->description.path, side); });
  if (thumbnail.empty()) throw ApiError{404, "there is no picture of this item"};
  HttpResponse response{.body = std::move(thumbnail.bytes), .type = thumbnail.type};
  response.headers.emplace_back("Cache-Control", "private, max-age=60");
  return response;
}

}  // namespace hh::apps
