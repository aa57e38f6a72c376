// SPDX-License-Identifier: Apache-2.0
// hybridhash.h for C++20: handles that close themselves, spans, and exceptions of type
// hybridhash::Error in place of statuses. Header only; link hybridhash::hybridhash.
#ifndef HYBRIDHASH_HPP
#define HYBRIDHASH_HPP

#if __cplusplus < 202002L
#error \
    "hybridhash.hpp needs C++20: compile with -std=c++20 (target_compile_features(NAME PRIVATE cxx_std_20)), or use hybridhash.h"
#endif

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hybridhash.h"

namespace hybridhash {

/// What a call failed with. what() is one line for people.
class Error : public std::runtime_error {
 public:
  Error(hh_status status, const std::string& text) : std::runtime_error(text), status_(status) {}
  hh_status status() const noexcept { return status_; }

 private:
  hh_status status_;
};

namespace detail {

inline void check(hh_status status) {
  if (status != HH_OK) throw Error(status, hh_last_error());
}

template <class T, void (*close)(T*)>
struct Close {
  void operator()(T* handle) const noexcept { close(handle); }
};
template <class T, void (*close)(T*)>
using Handle = std::unique_ptr<T, Close<T, close>>;

/// As C takes it. Throws for a text that C would take for a shorter one.
inline const char* c_text(const std::string& text) {
  if (const std::size_t at = text.find('\0'); at != std::string::npos) {
    throw Error(HH_INVALID_ARGUMENT,
                "\"" + text.substr(0, at) + "\" is followed by a NUL character: leave it out");
  }
  return text.c_str();
}

inline std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> out;
  out.reserve(texts.size());
  for (const std::string& text : texts) out.push_back(c_text(text));
  return out;
}

/// Throws unless `given` values are what is needed, so that no array is read past its end.
inline void check_size(std::size_t given, std::size_t wanted, const char* what) {
  if (given != wanted) {
    throw Error(HH_INVALID_ARGUMENT, std::string(what) + ": " + std::to_string(given) +
                                         " values, but " + std::to_string(wanted) + " are needed");
  }
}

}  // namespace detail

/// Bytes of a code.
constexpr std::size_t code_bytes(int bits) { return (std::size_t(bits) + 7) / 8; }

/// A row-major 8-bit image [height, width, channels] without gaps.
inline hh_image image(std::span<const std::uint8_t> pixels, int height, int width, int channels) {
  detail::check_size(pixels.size(),
                     std::size_t(height) * std::size_t(width) * std::size_t(channels), "pixels");
  return {pixels.data(),          height, width, channels, std::int64_t{width} * channels,
          std::int64_t{channels}, 1};
}

/// Items: codes, and what is known of them.
class Codes {
 public:
  explicit Codes(hh_codes* handle) : handle_(handle) {}
  explicit Codes(const hh_codes_data& data) {
    hh_codes* handle = nullptr;
    detail::check(hh_codes_create(&data, &handle));
    handle_.reset(handle);
  }
  /// `bits` of a code, where the file knows bytes alone; 0: as many as it has.
  static Codes read(const std::string& path, int bits = 0) {
    hh_codes* handle = nullptr;
    detail::check(hh_codes_read(detail::c_text(path), bits, &handle));
    return Codes(handle);
  }
  void write(const std::string& path) const {
    detail::check(hh_codes_write(handle_.get(), detail::c_text(path)));
  }
  /// Pointers into this object.
  hh_codes_data view() const {
    hh_codes_data data = HH_CODES_DATA_INIT;
    detail::check(hh_codes_view(handle_.get(), &data));
    return data;
  }
  std::int64_t count() const { return view().count; }
  int bits() const { return view().bits; }
  std::span<const std::uint8_t> bytes() const {
    const hh_codes_data data = view();
    return {data.codes, std::size_t(data.count) * code_bytes(data.bits)};
  }
  std::span<const std::int64_t> ids() const {
    const hh_codes_data data = view();
    return {data.ids, std::size_t(data.count)};
  }
  /// "" where names aren't known.
  std::string name(std::int64_t i) const {
    const hh_codes_data data = view();
    return data.names == nullptr ? "" : data.names[i];
  }
  /// Numbers of item i's classes, ascending.
  std::vector<int> labels(std::int64_t i) const {
    const hh_codes_data data = view();
    const std::int64_t words = (data.classes + 63) / 64;
    std::vector<int> found;
    for (int c = 0; c < data.classes; ++c) {
      if (data.labels[i * words + c / 64] >> (c % 64) & 1) found.push_back(c);
    }
    return found;
  }
  hh_codes* get() const { return handle_.get(); }

 private:
  detail::Handle<hh_codes, hh_codes_close> handle_;
};

/// A trained network.
class Model {
 public:
  explicit Model(const std::string& path, const std::string& device = "cpu",
                 const std::string& dtype = "f32", int threads = 0) {
    hh_model_options options = HH_MODEL_OPTIONS_INIT;
    options.device = detail::c_text(device);
    options.dtype = detail::c_text(dtype);
    options.threads = threads;
    hh_model* handle = nullptr;
    detail::check(hh_model_open(detail::c_text(path), &options, &handle));
    handle_.reset(handle);
  }
  int bits() const { return hh_model_bits(handle_.get()); }
  int image_size() const { return hh_model_image_size(handle_.get()); }
  int channels() const { return hh_model_channels(handle_.get()); }
  /// Whether of image files the EXIF orientation is applied.
  bool exif_orientation() const { return hh_model_exif_orientation(handle_.get()) != 0; }
  std::string hash() const { return hh_model_hash(handle_.get()); }
  std::vector<std::string> class_names() const {
    std::vector<std::string> names;
    for (int i = 0; i < hh_model_class_count(handle_.get()); ++i) {
      names.emplace_back(hh_model_class_name(handle_.get(), i));
    }
    return names;
  }

  /// Packed codes [images, ceil(bits / 8)] and, unless null, outputs [images, bits].
  std::vector<std::uint8_t> encode(
      std::span<const hh_image> images, std::vector<float>* outputs = nullptr,
      const hh_encode_options& options = HH_ENCODE_OPTIONS_INIT) const {
    std::vector<std::uint8_t> codes(images.size() * code_bytes(bits()));
    if (outputs != nullptr) outputs->resize(images.size() * std::size_t(bits()));
    detail::check(hh_model_encode(handle_.get(), images.data(), std::int64_t(images.size()),
                                  &options, codes.data(),
                                  outputs == nullptr ? nullptr : outputs->data()));
    return codes;
  }
  /// What the network sees of images, [images, S, S, C].
  std::vector<std::uint8_t> transform(std::span<const hh_image> images) const {
    const auto side = std::size_t(image_size());
    std::vector<std::uint8_t> pixels(images.size() * side * side * std::size_t(channels()));
    detail::check(hh_model_transform(handle_.get(), images.data(), std::int64_t(images.size()),
                                     pixels.data()));
    return pixels;
  }
  /// How many images encode() copied before the network saw them, and how many it read where they
  /// lay.
  std::pair<std::int64_t, std::int64_t> copies() const {
    std::int64_t copied = 0, in_place = 0;
    hh_model_copies(handle_.get(), &copied, &in_place);
    return {copied, in_place};
  }
  Codes encode_source(const hh_source& source,
                      const hh_encode_options& options = HH_ENCODE_OPTIONS_INIT) const {
    hh_codes* codes = nullptr;
    detail::check(hh_model_encode_source(handle_.get(), &source, &options, &codes));
    return Codes(codes);
  }
  Codes encode_files(const std::vector<std::string>& files,
                     const hh_encode_options& options = HH_ENCODE_OPTIONS_INIT) const {
    const auto paths = detail::pointers(files);
    hh_source source = HH_SOURCE_INIT;
    source.files = paths.data();
    source.file_count = std::int64_t(paths.size());
    return encode_source(source, options);
  }
  Codes encode_folder(const std::string& folder,
                      const hh_encode_options& options = HH_ENCODE_OPTIONS_INIT) const {
    hh_source source = HH_SOURCE_INIT;
    source.folder = detail::c_text(folder);
    return encode_source(source, options);
  }
  void export_onnx(const std::string& path,
                   const hh_onnx_options& options = HH_ONNX_OPTIONS_INIT) const {
    detail::check(hh_model_export_onnx(handle_.get(), detail::c_text(path), &options));
  }
  hh_model* get() const { return handle_.get(); }

 private:
  detail::Handle<hh_model, hh_model_close> handle_;
};

/// The answer to a search.
class Hits {
 public:
  explicit Hits(hh_hits* handle) : handle_(handle) {
    detail::check(hh_hits_view(handle_.get(), &data_));
  }
  std::int64_t queries() const { return data_.count; }
  std::span<const std::int64_t> ids(std::int64_t query) const {
    return {data_.ids + data_.offsets[query], size(query)};
  }
  std::span<const float> distances(std::int64_t query) const {
    return {data_.distances + data_.offsets[query], size(query)};
  }
  const hh_hits_data& data() const { return data_; }

 private:
  std::size_t size(std::int64_t query) const {
    return std::size_t(data_.offsets[query + 1] - data_.offsets[query]);
  }
  detail::Handle<hh_hits, hh_hits_close> handle_;
  hh_hits_data data_ = HH_HITS_DATA_INIT;
};

/// An index of codes in a folder.
class Index {
 public:
  explicit Index(const std::string& folder) {
    hh_index* handle = nullptr;
    detail::check(hh_index_open(detail::c_text(folder), &handle));
    handle_.reset(handle);
  }
  static Index build(const std::string& folder, const Codes& codes, bool overwrite = false,
                     bool keep_outputs = false) {
    detail::check(hh_index_build(detail::c_text(folder), codes.get(), overwrite, keep_outputs));
    return Index(folder);
  }
  int bits() const { return hh_index_bits(handle_.get()); }
  std::int64_t count() const { return hh_index_count(handle_.get()); }
  std::string model_hash() const { return hh_index_model_hash(handle_.get()); }
  void refresh() { detail::check(hh_index_refresh(handle_.get())); }
  /// How many old items they replaced.
  std::int64_t add(const Codes& codes, hh_same_id same_id = HH_SAME_ID_REFUSE) {
    std::int64_t replaced = 0;
    detail::check(hh_index_add(handle_.get(), codes.get(), same_id, &replaced));
    return replaced;
  }
  std::int64_t remove(std::span<const std::int64_t> ids) {
    std::int64_t deleted = 0;
    detail::check(hh_index_delete(handle_.get(), ids.data(), std::int64_t(ids.size()), &deleted));
    return deleted;
  }
  void compact() { detail::check(hh_index_compact(handle_.get())); }
  Codes items(std::span<const std::int64_t> ids) const {
    hh_codes* codes = nullptr;
    detail::check(hh_index_items(handle_.get(), ids.data(), std::int64_t(ids.size()), &codes));
    return Codes(codes);
  }
  Codes select(const std::vector<std::string>& filters = {}) const {
    const auto texts = detail::pointers(filters);
    hh_codes* codes = nullptr;
    detail::check(hh_index_select(handle_.get(), texts.data(), std::int64_t(texts.size()), &codes));
    return Codes(codes);
  }
  Hits search(const hh_queries& queries,
              const hh_search_options& options = HH_SEARCH_OPTIONS_INIT) const {
    hh_hits* hits = nullptr;
    detail::check(hh_index_search(handle_.get(), &queries, &options, &hits));
    return Hits(hits);
  }
  /// The k nearest of codes [n, ceil(bits / 8)].
  Hits search(std::span<const std::uint8_t> codes, std::int64_t k = 10) const {
    hh_queries queries = HH_QUERIES_INIT;
    queries.count = std::int64_t(codes.size() / code_bytes(bits()));
    detail::check_size(codes.size(), std::size_t(queries.count) * code_bytes(bits()), "codes");
    queries.codes = codes.data();
    hh_search_options options = HH_SEARCH_OPTIONS_INIT;
    options.k = k;
    return search(queries, options);
  }
  /// The k nearest of codes [n, ceil(bits / 8)], n rows of k; -1 where there are fewer.
  struct Nearest {
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> distances;
  };
  Nearest nearest(std::span<const std::uint8_t> codes, std::int64_t k) const {
    const std::size_t n = codes.size() / code_bytes(bits());
    detail::check_size(codes.size(), n * code_bytes(bits()), "codes");
    if (k < 1 || k > 100'000'000) {
      throw Error(HH_INVALID_ARGUMENT, "k = " + std::to_string(k) + ": use 1 to 100000000");
    }
    Nearest found{std::vector<std::int64_t>(n * std::size_t(k)),
                  std::vector<std::int32_t>(n * std::size_t(k))};
    detail::check(hh_index_nearest(handle_.get(), codes.data(), std::int64_t(n), k,
                                   found.ids.data(), found.distances.data()));
    return found;
  }
  hh_index* get() const { return handle_.get(); }

 private:
  detail::Handle<hh_index, hh_index_close> handle_;
};

inline hh_evaluation evaluate(const Codes& queries, const Codes& database,
                              const hh_evaluate_options& options = HH_EVALUATE_OPTIONS_INIT) {
  hh_evaluation result{};
  result.size = sizeof result;
  detail::check(hh_evaluate(queries.get(), database.get(), &options, &result));
  return result;
}

/// False when options.stop asked for the end.
inline bool train(const std::string& recipe, const std::string& folder,
                  const hh_train_options& options = HH_TRAIN_OPTIONS_INIT) {
  const hh_status status =
      hh_train(recipe.empty() ? nullptr : detail::c_text(recipe), detail::c_text(folder), &options);
  if (status == HH_STOPPED) return false;
  detail::check(status);
  return true;
}

/// What a training run tells, and how it is stopped; each may be empty. What one throws ends the run
/// after the step, with a checkpoint, and is thrown on by train().
struct Training {
  std::vector<std::string> settings;  // "train.epochs=3", over the recipe
  std::string device = "cpu";
  bool resume = false;
  std::function<bool()> stop;  // asked after each step
  std::function<void(const hh_epoch&)> epoch;
  std::function<void(const std::string& text, bool is_warning)> message;
};

namespace detail {

struct TrainingCall {
  const Training& training;
  std::exception_ptr thrown;
  template <class F>
  void run(F&& function) noexcept {  // no exception may pass the C library
    try {
      if (!thrown) function();
    } catch (...) {
      thrown = std::current_exception();
    }
  }
};

}  // namespace detail

/// False when `stop` asked for the end.
inline bool train(const std::string& recipe, const std::string& folder, const Training& training) {
  detail::TrainingCall call{training, {}};
  const auto settings = detail::pointers(training.settings);
  hh_train_options options = HH_TRAIN_OPTIONS_INIT;
  options.device = detail::c_text(training.device);
  options.settings = settings.data();
  options.setting_count = std::int64_t(settings.size());
  options.resume = training.resume;
  options.user = &call;
  options.stop = [](void* user) {
    auto& to = *static_cast<detail::TrainingCall*>(user);
    bool stops = false;
    to.run([&] { stops = to.training.stop && to.training.stop(); });
    return int(stops || to.thrown != nullptr);
  };
  if (training.epoch) {
    options.epoch = [](const hh_epoch* epoch, void* user) {
      auto& to = *static_cast<detail::TrainingCall*>(user);
      to.run([&] { to.training.epoch(*epoch); });
    };
  }
  if (training.message) {
    options.message = [](const char* text, int is_warning, void* user) {
      auto& to = *static_cast<detail::TrainingCall*>(user);
      to.run([&] { to.training.message(text, is_warning != 0); });
    };
  }
  const hh_status status =
      hh_train(recipe.empty() ? nullptr : detail::c_text(recipe), detail::c_text(folder), &options);
  if (call.thrown) std::rethrow_exception(call.thrown);
  if (status == HH_STOPPED) return false;
  detail::check(status);
  return true;
}

/// Takes what the library has to say, a line at a time, from any thread; empty: nothing is told. For
/// the whole process. What it throws is dropped.
inline void set_log(std::function<void(hh_log_level, const std::string&)> log) {
  static std::function<void(hh_log_level, const std::string&)> kept;
  detail::check(hh_set_log(nullptr, nullptr));
  kept = std::move(log);
  if (!kept) return;
  detail::check(hh_set_log(
      [](hh_log_level level, const char* text, void*) {
        try {
          kept(level, text);
        } catch (...) {
        }
      },
      nullptr));
}

}  // namespace hybridhash

#endif
