// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "api/boundary.h"
#include "api/gpu_turn.h"
#include "api/items.h"
#include "engine/device/signal_stack.h"
#include "engine/text/log.h"
#include "kernels/core/parallel.h"
#include "pipeline/data_source.h"
#include "pipeline/model_file.h"
#include "pipeline/onnx/export.h"
#include "pipeline/pixel_encoder.h"

using namespace hh::api;
using hh::pipeline::PixelView;

struct hh_model {
  std::string path;
  std::unique_ptr<hh::pipeline::Model> model;
  int threads = 0;
  CallMutex mutex{
      "a call on this model from inside its own progress: use another model, or wait for the end"};
  std::atomic<std::int64_t> copied = 0, in_place = 0;
};

namespace {

/// Holds what a call on a model needs: the model, its GPU, its threads.
class Turn {
 public:
  explicit Turn(hh_model& model) : model_(model.mutex) {
    if (model.model->device != hh::kCpu) gpu_ = std::unique_lock(gpu_turn());
    if (model.threads > 0) limit_.emplace(model.threads);
    hh::use_signal_stack();  // Python's handler of Ctrl-C takes it
  }

 private:
  std::unique_lock<CallMutex> model_, gpu_;
  std::optional<hh::cpu::ThreadLimit> limit_;
};

hh::pipeline::EncoderOptions encoder_options(const hh_encode_options& o) {
  HH_REQUIRE(o.batch >= 1 && o.batch <= 65536, "batch = " << o.batch << ": use 1 to 65536");
  HH_REQUIRE(o.workers >= 0 && o.workers <= 256, "workers = " << o.workers << ": use 0 to 256");
  hh::pipeline::EncoderOptions options{.batch = o.batch,
                                       .workers = o.workers,
                                       .skip_bad = o.skip_bad != 0,
                                       .keep_outputs = o.keep_outputs != 0};
  options.listener.warn = [](const std::string& text) { hh::log(hh::LogLevel::kWarning, text); };
  if (o.progress != nullptr) {
    options.listener.progress = [o](const hh::pipeline::ProgressState& state) {
      if (!state.ended && o.progress(state.done, state.total, o.user) != 0) throw Stopped();
    };
  }
  return options;
}

/// The caller's images. Throws std::invalid_argument for a count or a pointer that can't be.
std::vector<PixelView> views_of(const hh_image* images, int64_t count) {
  HH_REQUIRE(count >= 0, "count = " << count << ": use 0 or more");
  HH_REQUIRE(count == 0 || images != nullptr, "images is NULL");
  std::vector<PixelView> views;
  views.reserve(std::size_t(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const hh_image& image = images[i];
    views.push_back({.pixels = image.pixels,
                     .height = image.height,
                     .width = image.width,
                     .channels = image.channels,
                     .row_stride = image.row_stride,
                     .pixel_stride = image.pixel_stride,
                     .channel_stride = image.channel_stride});
  }
  return views;
}

}  // namespace

hh_status hh_model_open(const char* path, const hh_model_options* options, hh_model** model) {
  return guarded([&] {
    hh_model*& out = needed(model, "model");
    const hh_model_options o =
        options_or(options, hh_model_options HH_MODEL_OPTIONS_INIT, "options");
    check_threads(o.threads);
    const std::string device = o.device == nullptr ? "cpu" : o.device;
    const hh::NetworkType type = hh::network_type(o.dtype == nullptr ? "f32" : o.dtype);
    auto made = std::make_unique<hh_model>();
    made->path = &needed(path, "path");
    made->threads = o.threads;
    const hh::Device place = hh::parse_device(device);
    std::unique_lock<CallMutex> gpu;
    if (place != hh::kCpu) gpu = std::unique_lock(gpu_turn());
    HH_REQUIRE(type.activations != hh::DType::f16 || place != hh::kCpu,
               "dtype f16 is for GPUs; use f32 or bf16 on the CPU");
    made->model = hh::pipeline::load_model(made->path, place, type);
    out = made.release();
  });
}

void hh_model_close(hh_model* model) {
  if (model == nullptr) return;
  const bool gpu = model->model->device != hh::kCpu;
  std::unique_lock<CallMutex> lock;
  if (gpu) lock = std::unique_lock(gpu_turn());
  delete model;
}

int hh_model_bits(const hh_model* model) { return model->model->info.config.bits; }
int hh_model_image_size(const hh_model* model) { return model->model->info.transform.size; }
int hh_model_channels(const hh_model* model) { return model->model->info.transform.channels; }
const char* hh_model_hash(const hh_model* model) { return model->model->hash.c_str(); }
int hh_model_exif_orientation(const hh_model* model) {
  return int(model->model->info.exif_orientation);
}
int hh_model_class_count(const hh_model* model) {
  return int(model->model->info.class_names.size());
}
const char* hh_model_class_name(const hh_model* model, int index) {
  const auto& names = model->model->info.class_names;
  return index >= 0 && std::size_t(index) < names.size() ? names[std::size_t(index)].c_str()
                                                         : nullptr;
}

void hh_model_copies(const hh_model* model, int64_t* copied, int64_t* in_place) {
  if (copied != nullptr) *copied = model->copied;
  if (in_place != nullptr) *in_place = model->in_place;
}

hh_status hh_model_encode(hh_model* model, const hh_image* images, int64_t count,
                          const hh_encode_options* options, uint8_t* codes, float* outputs) {
  return guarded([&] {
    needed(model, "model");
    const auto encoder =
        encoder_options(options_or(options, hh_encode_options HH_ENCODE_OPTIONS_INIT, "options"));
    const std::vector<PixelView> views = views_of(images, count);
    const int bits = hh_model_bits(model);
    const std::size_t values = std::size_t(count) * std::size_t(bits);
    std::vector<float> own;
    std::span<float> to(outputs, values);
    if (outputs == nullptr) {
      own.resize(values);
      to = own;
    }
    {
      const Turn turn(*model);
      const auto done = hh::pipeline::encode_pixels(*model->model, views, encoder, to);
      model->copied += done.copied;
      model->in_place += done.in_place;
    }
    if (codes == nullptr) return;
    const auto bytes = hh::retrieval::PackedCodes::from_floats(to, count, bits).to_bytes();
    std::copy(bytes.begin(), bytes.end(), codes);
  });
}

hh_status hh_model_transform(hh_model* model, const hh_image* images, int64_t count,
                             uint8_t* pixels) {
  return guarded([&] {
    const hh::pipeline::Model& network = *needed(model, "model").model;
    const std::vector<PixelView> views = views_of(images, count);
    HH_REQUIRE(count == 0 || pixels != nullptr, "pixels is NULL");
    const auto side = std::size_t(hh_model_image_size(model));
    hh::pipeline::transform_pixels(
        network, views,
        {pixels, views.size() * side * side * std::size_t(hh_model_channels(model))});
  });
}

hh_status hh_model_encode_source(hh_model* model, const hh_source* source,
                                 const hh_encode_options* options, hh_codes** codes) {
  return guarded([&] {
    hh_codes*& out = needed(codes, "codes");
    needed(model, "model");
    const hh_encode_options o =
        options_or(options, hh_encode_options HH_ENCODE_OPTIONS_INIT, "options");
    needed(source, "source");
    const hh_source s = options_or(source, hh_source HH_SOURCE_INIT, "source");
    hh::pipeline::SourceOptions from{.part = text_or_empty(s.part),
                                     .folder = text_or_empty(s.folder),
                                     .class_folder = text_or_empty(s.class_folder),
                                     .list = text_or_empty(s.list),
                                     .image_root = text_or_empty(s.image_root),
                                     .files = texts(s.files, s.file_count, "files"),
                                     .max_pixels = o.max_megapixels};
    HH_REQUIRE(o.max_megapixels >= 0 && o.max_megapixels <= hh::data::kMostMegapixels,
               "max_megapixels = " << o.max_megapixels << ": use up to "
                                   << hh::data::kMostMegapixels << ", or 0 for the model's limit");
    const int kinds = !from.part.empty() + !from.folder.empty() + !from.class_folder.empty() +
                      !from.list.empty() + !from.files.empty();
    HH_REQUIRE(kinds == 1, "source: " << kinds
                                      << " kinds of images are given; give one of files, folder, "
                                         "class_folder, list and part");
    const auto encoder = encoder_options(o);
    const Turn turn(*model);
    const hh::pipeline::Model& network = *model->model;
    out = new hh_codes(
        {.set = hh::pipeline::encode_source(
             network, hh::pipeline::open_source(network.info, model->path, from), encoder),
         .metadata = {}});
  });
}

hh_status hh_model_export_onnx(hh_model* model, const char* path, const hh_onnx_options* options) {
  return guarded([&] {
    needed(model, "model");
    const hh_onnx_options o = options_or(options, hh_onnx_options HH_ONNX_OPTIONS_INIT, "options");
    hh::pipeline::OnnxOptions graph{.batch = o.batch, .opset = o.opset};
    if (o.inputs != nullptr) graph.inputs = o.inputs;
    if (o.outputs != nullptr) graph.outputs = o.outputs;
    const Turn turn(*model);
    hh::pipeline::export_onnx(*model->model, &needed(path, "path"), graph);
  });
}
