// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/serve.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/serve/form.h"
#include "apps/serve/page.h"
#include "data/images/decode.h"
#include "kernels/core/check.h"
#include "pipeline/data_source.h"
#include "retrieval/files/item_files.h"
#include "retrieval/search/asymmetric.h"
#include "retrieval/search/multi_index_tail.h"

namespace hh::apps {
namespace {

using nlohmann::json;
using retrieval::IndexItem, retrieval::PackedCodes;

constexpr std::int64_t kDefaultK = 20, kMaxK = 1000, kMaxRerank = 10'000;
constexpr std::size_t kMaxFilters = 16, kMaxText = 1024, kMaxMetadata = std::size_t{64} << 10;

struct ApiError {
  int status;
  std::string message;
};

HttpResponse json_response(const json& value, int status = 200) {
  return {.status = status,
          .body = value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"};
}

/// Runs `answer`, and turns what it throws into answers.
template <class Answer>
HttpResponse answered_as(const std::string& route, const Answer& answer) {
  HttpResponse response;
  try {
    response = answer();
  } catch (const ApiError& error) {
    response = error_response(error.status, error.message);
    if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  } catch (const std::invalid_argument& error) {
    response = error_response(400, error.what());
  } catch (const data::ImageError& error) {
    response = error_response(400, std::string("the picture can't be used: ") + error.what());
  } catch (const DiskFull& error) {
    response = error_response(507, std::string("nothing was changed: ") + error.what());
  } catch (const IndexBusy& error) {
    response = error_response(503, error.what());
    response.headers.emplace_back("Retry-After", "1");
  }
  response.route = route;
  return response;
}

std::int64_t number(const std::string& name, const std::string& text, std::int64_t least,
                    std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  HH_REQUIRE(
      error == std::errc() && end == text.data() + text.size() && value >= least && value <= most,
      name << " = '" << text.substr(0, 40) << "': a whole number from " << least << " to " << most);
  return value;
}

/// N of /api/items/N<tail>, or -1.
std::int64_t id_in(const std::string& path, const std::string& tail) {
  const std::string head = "/api/items/";
  if (!path.starts_with(head) || !path.ends_with(tail)) return -1;
  const std::string text = path.substr(head.size());
  std::int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && std::string_view(end) == tail ? id : -1;
}

/// In a time that tells nothing of where they differ.
bool same_secret(const std::string& a, const std::string& b) {
  unsigned different = a.size() != b.size();
  for (std::size_t i = 0; i < a.size(); ++i) {
    different |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i % b.size()]);
  }
  return different == 0;
}

/// host[:port] without the port.
std::string host_name(const std::string& host) {
  const std::size_t colon = host.rfind(':');
  return colon != std::string::npos && host.find(']', colon) == std::string::npos
             ? host.substr(0, colon)
             : host;
}

json item_json(const retrieval::Index& index, const IndexItem& item) {
  json labels = json::array();
  for (const int c : item.description.labels) labels.push_back(index.class_name(c));
  json value{{"id", item.id},
             {"name", item.description.path},
             {"labels", labels},
             {"code", retrieval::code_to_hex(index.codes(), item.row)},
             {"bits", retrieval::code_to_bits(index.codes(), item.row)}};
  value["metadata"] = item.description.metadata.empty()
                          ? json(nullptr)
                          : json::parse(item.description.metadata, nullptr, false);
  return value;
}

json code_json(const PackedCodes& code) {
  return {{"code", retrieval::code_to_hex(code, 0)}, {"bits", retrieval::code_to_bits(code, 0)}};
}

bool share(const std::vector<int>& a, const std::vector<int>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](int c) { return std::find(b.begin(), b.end(), c) != b.end(); });
}

/// Classes named in "dog,3".
std::vector<int> classes_in(const retrieval::Index& index, const std::string& text) {
  std::vector<int> classes;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string name = text.substr(at, comma - at);
    at = comma + 1;
    // An index without names takes any number.
    if (index.manifest().class_names.empty()) {
      classes.push_back(int(number("label", name, 0, retrieval::kMaxClasses - 1)));
    } else {
      classes.push_back(index.class_of(name));
    }
  }
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

/// What to look for, beside the code.
struct SearchOptions {
  std::int64_t k = kDefaultK;
  std::optional<int> radius;
  std::vector<std::string> filters;
  std::vector<int> labels;  // of the query, for precision
  std::int64_t rerank = 0;  // so many are put in order of the outputs
};

/// What is searched for.
struct Query {
  retrieval::CodesView code;
  std::span<const float> outputs;  // of the network; may be empty
  std::int64_t self = -1;          // its row, which is left out
};

/// From parameters by `get`, which gives the values of a name.
template <class Get>
SearchOptions search_options(const retrieval::Index& index, const Get& get) {
  SearchOptions options;
  if (const auto k = get("k"); !k.empty()) options.k = number("k", k[0], 1, kMaxK);
  if (const auto radius = get("radius"); !radius.empty()) {
    options.radius = int(number("radius", radius[0], 0, index.bits()));
  }
  if (const auto rerank = get("rerank"); !rerank.empty()) {
    options.rerank = number("rerank", rerank[0], 1, kMaxRerank);
    HH_REQUIRE(!options.radius, "rerank is for the k nearest, not for a radius");
    HH_REQUIRE(index.manifest().outputs,
               "the index keeps no outputs to re-rank by; build it by index build --keep-outputs");
  }
  options.filters = get("filter");
  HH_REQUIRE(options.filters.size() <= kMaxFilters,
             options.filters.size() << " filters; the limit is " << kMaxFilters);
  for (const std::string& filter : options.filters) {
    HH_REQUIRE(filter.size() <= kMaxText, "a filter of more than " << kMaxText << " bytes");
    HH_REQUIRE(filter.find('\0') == std::string::npos, "a filter with a zero byte");
  }
  if (const auto labels = get("label"); !labels.empty()) {
    HH_REQUIRE(labels[0].size() <= kMaxText, "a label of more than " << kMaxText << " bytes");
    options.labels = classes_in(index, labels[0]);
  }
  return options;
}

/// Rows with their distances, nearest first; by what they were found.
struct Found {
  std::vector<std::pair<std::int64_t, double>> rows;
  std::string method = "scan";
};

Found find(const IndexState& state, const retrieval::MultiIndex* tables, const Query& query,
           const SearchOptions& options) {
  const retrieval::Index& index = state.index;
  std::optional<retrieval::RowMask> passing;
  if (!options.filters.empty()) passing = index.select(options.filters);
  const retrieval::RowMask* allowed = passing ? &*passing : index.allowed();
  Found found;
  const auto keep = [&](std::span<const std::int64_t> rows, std::span<const std::int32_t> far) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] >= 0 && rows[i] != query.self) found.rows.emplace_back(rows[i], far[i]);
    }
  };
  retrieval::MultiIndex::Statistics statistics;
  if (options.radius) {
    const auto within = tables ? retrieval::radius_with_tail(*tables, index.codes(), query.code,
                                                             *options.radius, allowed, &statistics)
                               : state.scan.radius(query.code, *options.radius, allowed);
    keep(within.rows_of(0), within.distances_of(0));
  } else {
    const std::int64_t k = std::max(options.k, options.rerank) + (query.self >= 0);
    const auto nearest = tables ? retrieval::topk_with_tail(*tables, index.codes(), query.code, k,
                                                            allowed, &statistics)
                                : state.scan.topk(query.code, k, allowed);
    keep(nearest.rows_of(0), nearest.distances_of(0));
  }
  if (tables && statistics.queries_scanned == 0) found.method = "multi-index";
  return found;
}

/// Puts what was found in order of the real-valued outputs.
void rerank(const retrieval::Index& index, const Query& query, const SearchOptions& options,
            Found& found) {
  if (options.rerank == 0) return;
  HH_REQUIRE(!query.outputs.empty(), "re-ranking needs a picture or an item, not a code");
  retrieval::TopkResult candidates{1, std::int64_t(found.rows.size()), {}, {}};
  for (const auto& [row, distance] : found.rows) candidates.rows.push_back(row);
  if (candidates.k == 0) return;
  const auto ranked =
      retrieval::rerank(candidates, query.outputs, index.outputs(), index.bits(), candidates.k);
  for (std::size_t i = 0; i < found.rows.size(); ++i) {
    found.rows[i] = {ranked.rows[i], ranked.distances[i]};
  }
}

/// The nearest items.
json results_json(const IndexState& state, const retrieval::MultiIndex* tables, const Query& query,
                  const SearchOptions& options) {
  const retrieval::Index& index = state.index;
  const auto start = std::chrono::steady_clock::now();
  json answer;
  Found all = find(state, tables, query, options);
  rerank(index, query, options, all);
  auto& found = all.rows;
  answer["method"] = all.method;
  if (options.rerank > 0) answer["rerank"] = options.rerank;
  if (options.radius) answer["within_radius"] = found.size();
  if (std::int64_t(found.size()) > options.k) found.resize(std::size_t(options.k));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  json results = json::array();
  std::size_t same = 0, known = 0;
  for (const auto& [row, distance] : found) {
    const IndexItem item = index.item(row);
    json value = item_json(index, item);
    value["distance"] = options.rerank > 0 ? json(distance) : json(int(distance));
    if (!options.labels.empty() && !item.description.labels.empty()) {
      const bool is_same = share(options.labels, item.description.labels);
      value["same_class"] = is_same;
      same += is_same;
      ++known;
    }
    results.push_back(std::move(value));
  }
  answer["results"] = std::move(results);
  answer["precision"] =
      known > 0 && known == found.size() ? json(double(same) / double(known)) : json(nullptr);
  answer["search_seconds"] = seconds;
  return answer;
}

/// What the paths are called in the metrics, and how they may be asked.
struct Route {
  std::string name;
  std::vector<std::string> methods;
};

Route route_of(const std::string& path) {
  if (path == "/" || path == "/page.css" || path == "/page.js") return {"page", {"GET"}};
  if (path == "/healthz" || path == "/metrics") return {path, {"GET"}};
  if (path == "/api/info") return {path, {"GET"}};
  if (path == "/api/encode") return {path, {"POST"}};
  if (path == "/api/search") return {path, {"GET", "POST"}};
  if (path == "/api/items") return {path, {"POST"}};
  if (id_in(path, "") >= 0) return {"/api/items/N", {"GET", "DELETE"}};
  if (id_in(path, "/image") >= 0) return {"/api/items/N/image", {"GET"}};
  return {};
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

/// The bytes behind "data:image/png;base64,".
std::string decode_uri(const std::string& uri) {
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (std::size_t i = uri.find(',') + 1; i < uri.size() && uri[i] != '='; ++i) {
    const char c = uri[i];
    const int digit = c >= 'a'   ? c - 'a' + 26
                      : c >= 'A' ? c - 'A'
                      : c >= '0' ? c - '0' + 52
                      : c == '+' ? 62
                                 : 63;
    bits = bits << 6 | std::uint32_t(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += char(bits >> count & 255);
  }
  return bytes;
}

}  // namespace

/// A picture and what was sent along, as fields of a form or as parameters.
struct Server::Upload {
  std::string_view picture;
  std::vector<std::pair<std::string, std::string>> fields;

  std::vector<std::string> all(const std::string& name) const {
    std::vector<std::string> values;
    for (const auto& [key, value] : fields) {
      if (key == name) values.push_back(value);
    }
    return values;
  }
  std::string one(const std::string& name, std::size_t most) const {
    const auto values = all(name);
    HH_REQUIRE(values.size() <= 1, name << " is given more than once");
    HH_REQUIRE(values.empty() || values[0].size() <= most,
               name << " of more than " << most << " bytes");
    return values.empty() ? "" : values[0];
  }
};

Server::Server(ServedIndex& index, std::unique_ptr<pipeline::Model> model,
               const ServerOptions& options)
    : index_(index),
      model_(std::move(model)),
      options_(options),
      decoders_(std::clamp(int(std::thread::hardware_concurrency()), 2, 64)),
      thumbnails_({.image_root = options.image_root, .side = 240}) {
  if (!model_) return;
  index_.state()->index.check_belongs(model_->info.config.bits, model_->hash);
  // The first picture takes seconds, in which the kernels are chosen: before anyone waits for it.
  data::Image blank;
  blank.reshape(model_->info.transform.size, model_->info.transform.size, 3);
  pipeline::encode_image(*model_, std::move(blank));
}

Server::~Server() = default;

void Server::answered(const std::string& route, int status, double seconds) {
  metrics_.observe(route, status, seconds);
}

void Server::check_site(const HttpRequest& request) const {
  // A page from elsewhere that a browser on this machine shows can send requests here, and, once
  // its name is made to mean this machine, even read the answers.
  if (!options_.loopback) return;
  const std::string host = host_name(request.host);
  if (host != "localhost" && host != "[::1]" && !host.starts_with("127.") && !host.empty()) {
    throw ApiError{403, "this server is for its own machine; ask for it as localhost"};
  }
}

void Server::check_write(const HttpRequest& request) const {
  if (options_.read_only) throw ApiError{403, "the server was started with --read-only"};
  if (!request.origin.empty() && request.origin != "http://" + request.host &&
      request.origin != "https://" + request.host) {
    throw ApiError{403, "changes are taken from this server's own page only"};
  }
  if (options_.token.empty()) {
    if (options_.loopback) return;
    throw ApiError{403, "changes over the network need a token; start the server with --token"};
  }
  if (request.authorization.empty()) {
    throw ApiError{401, "changes need the token: Authorization: Bearer TOKEN"};
  }
  if (!same_secret(request.authorization, "Bearer " + options_.token)) {
    throw ApiError{401, "that isn't the token"};
  }
}

std::optional<HttpResponse> Server::before_body(const HttpRequest& request) {
  const Route route = route_of(request.path);
  std::optional<HttpResponse> answer;
  const HttpResponse other = answered_as(route.name.empty() ? "other" : route.name, [&] {
    check_site(request);
    if (route.name.empty()) throw ApiError{404, "there is nothing at this address"};
    const auto& methods = route.methods;
    if (std::find(methods.begin(), methods.end(), request.method) == methods.end()) {
      throw ApiError{405, "this address takes " + methods[0] +
                              (methods.size() > 1 ? " and " + methods[1] : "")};
    }
    const std::string& path = request.path;
    HttpResponse response;
    if (request.method == "POST") {
      if (path == "/api/items") check_write(request);
      if (!model_) throw ApiError{501, "the server was started without --model"};
      response.status = 0;  // the body, please
    } else if (request.method == "DELETE") {
      check_write(request);
      response = remove(id_in(path, ""));
    } else if (route.name == "page") {
      response = page_response(path);
    } else if (path == "/healthz") {
      response = {.body = "ok\n", .type = "text/plain"};
    } else if (path == "/metrics") {
      const auto state = index_.state();
      response = {.body = metrics_.text(state->index.count(), state->index.rows()),
                  .type = "text/plain; version=0.0.4"};
    } else if (path == "/api/info") {
      response = info();
    } else if (path == "/api/search") {
      response = search(request);
    } else if (path.ends_with("/image")) {
      response = picture(id_in(path, "/image"));
    } else {
      response = item(id_in(path, ""));
    }
    return response;
  });
  if (other.status == 0) return std::nullopt;
  answer = other;
  answer->headers.emplace_back("X-Content-Type-Options", "nosniff");
  return answer;
}

HttpResponse Server::with_body(const HttpRequest& request) {
  return answered_as(route_of(request.path).name, [&] {
    if (request.path == "/api/encode") return encode_picture(request);
    if (request.path == "/api/search") return search_picture(request);
    return add(request);
  });
}

Server::Upload Server::upload(const HttpRequest& request) const {
  Upload upload;
  for (const auto& [name, value] : request.params) upload.fields.emplace_back(name, value);
  if (!is_form(request.content_type)) {
    upload.picture = request.body;
    return upload;
  }
  bool found = false;
  for (const FormPart& part : parse_form(request.content_type, request.body)) {
    if (part.name != "image") {
      upload.fields.emplace_back(part.name, part.data);
      continue;
    }
    HH_REQUIRE(!found, "the form has more than one 'image'");
    upload.picture = part.data;
    found = true;
  }
  HH_REQUIRE(found, "the form has no part 'image'");
  return upload;
}

std::vector<float> Server::encode(std::string_view picture) {
  using namespace std::chrono;
  const auto wait = duration_cast<milliseconds>(duration<double>(options_.seconds));
  const ApiError busy{503, "too many pictures are being encoded; try again"};
  if (!decoders_.try_acquire_for(wait)) throw busy;
  struct Release {
    std::counting_semaphore<64>& semaphore;
    ~Release() { semaphore.release(); }
  } const release{decoders_};
  data::Image image =
      data::decode_image({reinterpret_cast<const std::uint8_t*>(picture.data()), picture.size()},
                         {.channels = model_->info.config.in_channels,
                          .exif_orientation = options_.exif,
                          .max_pixels = options_.max_pixels});
  const std::unique_lock lock(network_, wait);
  if (!lock) throw busy;
  return pipeline::encode_image(*model_, std::move(image));
}

HttpResponse Server::info() {
  const auto state = index_.state();
  const auto& manifest = state->index.manifest();
  json classes = json::array();
  for (int c = 0; c < manifest.classes; ++c) classes.push_back(state->index.class_name(c));
  return json_response({{"items", state->index.count()},
                        {"bits", state->index.bits()},
                        {"classes", classes},
                        {"model_hash", manifest.model_hash},
                        {"source", manifest.source},
                        {"takes_pictures", model_ != nullptr},
                        {"max_k", kMaxK}});
}

HttpResponse Server::search(const HttpRequest& request) {
  const auto state = index_.state();
  const retrieval::Index& index = state->index;
  SearchOptions options =
      search_options(index, [&](const char* name) { return request.all(name); });
  const auto id = request.param("id"), code = request.param("code");
  HH_REQUIRE(id.has_value() != code.has_value(), "what to search? Give either id or code");
  const auto tables = index_.tables(state);
  if (code) {
    const PackedCodes query = retrieval::parse_code(*code, index.bits());
    json answer = results_json(*state, tables.get(), {.code = query}, options);
    answer["query"] = code_json(query);
    return json_response(answer);
  }
  const auto row = index.row_of(number("id", *id, 0, std::numeric_limits<std::int64_t>::max()));
  if (!row) throw ApiError{404, "the index has no item with id " + *id};
  const IndexItem item = index.item(*row);
  if (options.labels.empty()) options.labels = item.description.labels;
  const Query query{
      .code = index.codes().slice(*row, *row + 1), .outputs = index.outputs_of(*row), .self = *row};
  json answer = results_json(*state, tables.get(), query, options);
  answer["query"] = item_json(index, item);
  return json_response(answer);
}

HttpResponse Server::search_picture(const HttpRequest& request) {
  const Upload sent = upload(request);
  const auto state = index_.state();
  const SearchOptions options =
      search_options(state->index, [&](const char* name) { return sent.all(name); });
  const auto start = std::chrono::steady_clock::now();
  const std::vector<float> outputs = encode(sent.picture);
  const PackedCodes query = PackedCodes::from_floats(outputs, 1, state->index.bits());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto tables = index_.tables(state);
  json answer = results_json(*state, tables.get(), {.code = query, .outputs = outputs}, options);
  answer["query"] = code_json(query);
  answer["encode_seconds"] = seconds;
  return json_response(answer);
}

HttpResponse Server::encode_picture(const HttpRequest& request) {
  const std::vector<float> outputs = encode(upload(request).picture);
  json answer = code_json(PackedCodes::from_floats(outputs, 1, int(outputs.size())));
  answer["outputs"] = outputs;
  answer["model_hash"] = model_->hash;
  return json_response(answer);
}

HttpResponse Server::add(const HttpRequest& request) {
  const Upload sent = upload(request);
  const auto state = index_.state();
  retrieval::ItemSet items;
  const std::string name = sent.one("name", kMaxText);
  const std::filesystem::path path = name;
  // Whoever may add items must not thereby read pictures from all over the disk.
  HH_REQUIRE(!path.is_absolute() && std::find(path.begin(), path.end(), "..") == path.end(),
             "name = '" << name << "': a relative path without '..'");
  const std::string metadata = sent.one("metadata", kMaxMetadata);
  for (const std::string* text : {&name, &metadata}) {
    HH_REQUIRE(text->find('\0') == std::string::npos, "a name or metadata with a zero byte");
  }
  const std::vector<int> labels = classes_in(state->index, sent.one("label", kMaxText));
  const std::string id = sent.one("id", 20);
  const std::int64_t wanted =
      id.empty() ? -1 : number("id", id, 0, std::numeric_limits<std::int64_t>::max() - 1);
  if (wanted >= 0 && state->index.row_of(wanted) && sent.one("replace", 1) != "1") {
    throw ApiError{409, "there is an item with id " + id + "; replace it by replace=1"};
  }
  const std::vector<float> outputs = encode(sent.picture);
  retrieval::CodeSet& set = items.set;
  set.codes = PackedCodes::from_floats(outputs, 1, int(outputs.size()));
  set.ids = {0};
  if (!name.empty()) set.names = {name};
  if (!metadata.empty()) items.metadata = {metadata};
  if (!labels.empty()) {
    set.classes = labels.back() + 1;
    set.labels.resize(std::size_t(set.classes + 63) / 64);
    for (const int c : labels) set.labels[std::size_t(c / 64)] |= std::uint64_t{1} << (c % 64);
  }
  if (state->index.manifest().outputs) set.outputs = outputs;
  set.model_hash = model_->hash;
  set.source = "added through hybridhash serve";
  items.validate();
  json answer = code_json(set.codes);
  answer["id"] = index_.add(std::move(items), wanted);
  return json_response(answer, 201);
}

HttpResponse Server::remove(std::int64_t id) {
  if (!index_.remove(id)) {
    throw ApiError{404, "the index has no item with id " + std::to_string(id)};
  }
  return json_response({{"deleted", id}});
}

HttpResponse Server::item(std::int64_t id) {
  const auto state = index_.state();
  const auto row = state->index.row_of(id);
  if (!row) throw ApiError{404, "the index has no item with id " + std::to_string(id)};
  return json_response(item_json(state->index, state->index.item(*row)));
}

HttpResponse Server::picture(std::int64_t id) {
  const auto state = index_.state();
  const auto row = state->index.row_of(id);
  if (!row) throw ApiError{404, "the index has no item with id " + std::to_string(id)};
  const std::string name = state->index.item(*row).description.path;
  Thumbnail thumbnail;
  {
    const std::lock_guard lock(thumbnails_mutex_);
    thumbnail = thumbnails_.of(name);
  }
  if (thumbnail.uri.empty()) throw ApiError{404, "there is no picture of this item"};
  HttpResponse response{.body = decode_uri(thumbnail.uri)};
  response.type = thumbnail.uri.starts_with("data:image/png") ? "image/png" : "image/jpeg";
  response.headers.emplace_back("Cache-Control", "private, max-age=60");
  return response;
}

}  // namespace hh::apps
