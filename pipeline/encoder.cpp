// SPDX-License-Identifier: Apache-2.0
#include "pipeline/encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "engine/text/counted.h"
#include "model/hybridhash/batch_codes.h"
#include "pipeline/model_file.h"

namespace hh::pipeline {

std::vector<float> finite(std::vector<float> outputs) {
  if (!std::all_of(outputs.begin(), outputs.end(), [](float v) { return std::isfinite(v); })) {
    throw std::runtime_error(
        "the model's outputs aren't numbers: its weights are damaged, or too large for 16 bits "
        "(then f32 has codes)");
  }
  return outputs;
}

Encoder::Encoder(const HybridHash& network, const data::TransformSpec& transform, DType dtype,
                 Device device, const EncoderOptions& options)
    : network_(network), transform_(transform), dtype_(dtype), device_(device), options_(options) {
  HH_PRECONDITION(transform.fixed(), "codes need a transform without random choices");
}

retrieval::CodeSet Encoder::encode(const data::Dataset& dataset,
                                   const std::vector<std::int64_t>& items,
                                   const std::string& what) const {
  const int bits = network_.config().bits;
  const PixelStatistics statistics = pixel_statistics(transform_);
  data::Loader loader(
      dataset, items, transform_,
      {.batch_size = options_.batch, .workers = options_.workers, .skip_bad = options_.skip_bad});
  Progress progress(options_.listener, what, loader.items());
  retrieval::CodeSet set;
  const auto add = [&](const data::Batch& batch, const std::vector<float>& values) {
    set.codes.append(retrieval::PackedCodes::from_floats(values, batch.images, bits));
    for (const std::int64_t position : batch.indices) {
      const std::int64_t item = items[std::size_t(position)];
      set.ids.push_back(item);
      set.names.push_back(dataset.name(item));
    }
    set.labels.insert(set.labels.end(), batch.labels.begin(), batch.labels.end());
    if (options_.keep_outputs) set.outputs.insert(set.outputs.end(), values.begin(), values.end());
    progress.update(set.count());
  };
  BatchCodes codes(network_, statistics, dtype_, device_);
  data::Batch batch, before;  // `before` without its pixels: their memory is the next batch's
  loader.start(0);
  while (loader.next(batch)) {
    if (auto values = codes.put(batch.pixels)) add(before, finite(std::move(*values)));
    std::swap(batch, before);
    std::swap(batch.pixels, before.pixels);
  }
  if (auto values = codes.finish()) add(before, finite(std::move(*values)));
  report_bad(loader, options_.listener);
  HH_REQUIRE(
      set.count() > 0 || options_.may_be_none,
      what << ": there is not one readable image: hybridhash dataset check names what is wrong "
              "with each");
  if (std::any_of(set.labels.begin(), set.labels.end(), [](auto word) { return word != 0; })) {
    set.classes = dataset.classes();
    set.class_names = dataset.class_names();
  } else {
    set.labels.clear();
  }
  return set;
}

void report_bad(const data::Loader& loader, const Listener& listener) {
  for (const data::BadImage& bad : loader.bad()) {
    listener.warn(fmt::format("skipped {}: {}", bad.location, bad.error));
  }
  if (!loader.bad().empty()) listener.warn(counted(loader.bad().size(), "bad image") + " skipped");
}

}  // namespace hh::pipeline
