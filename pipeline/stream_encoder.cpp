// SPDX-License-Identifier: Apache-2.0
#include "pipeline/stream_encoder.h"

#include <utility>

#include "data/experiments/loader.h"
#include "data/streams/line_stream.h"
#include "data/streams/tar_stream.h"
#include "engine/text/utf8.h"
#include "model/hybridhash/batch_codes.h"
#include "pipeline/encoder.h"

namespace hh::pipeline {
namespace {

std::string name_of(const std::string& file) { return file == data::kStdin ? "stdin" : file; }

/// The batch's rows that are images of this range.
retrieval::CodeSet rows_of(const retrieval::CodeSet& about, data::StreamedBatch& batch,
                           std::span<const float> values, bool keep_outputs) {
  const auto bits = std::size_t(about.codes.bits());
  retrieval::CodeSet rows;
  rows.classes = about.classes;
  std::vector<float> kept;
  for (data::StreamedBatch::Item& item : batch.items) {
    const auto row = values.subspan(std::size_t(item.row) * bits, bits);
    kept.insert(kept.end(), row.begin(), row.end());
    rows.ids.push_back(item.id);
    rows.names.push_back(std::move(item.name));
    rows.labels.insert(rows.labels.end(), item.labels.begin(), item.labels.end());
  }
  rows.codes = retrieval::PackedCodes::from_floats(kept, std::int64_t(rows.ids.size()), int(bits));
  if (keep_outputs) rows.outputs = std::move(kept);
  return rows;
}

void refuse_bad(const std::vector<data::StreamedBatch::Bad>& bad, std::int64_t batch) {
  std::vector<data::BadImage> images;
  for (const auto& image : bad) images.push_back({image.id, image.location, image.error});
  throw std::runtime_error(data::bad_images_text(images, batch));
}

}  // namespace

retrieval::PartOfList describe_part(const ModelInfo& model, const SourceOptions& source,
                                    const retrieval::PartOfList& shard, const std::string& dtype) {
  HH_REQUIRE(!source.list.empty() || !source.tar.empty(),
             "shards and folders of parts are for --list and --tar: list the images of the others "
             "first, as by find FOLDER -type f > list.txt");
  retrieval::PartOfList part = shard;
  if (!source.tar.empty()) {
    const data::TarFacts facts = data::tar_facts(source.tar);
    part.list_lines = facts.images;
    part.list_xxh64 = facts.xxh64;
  } else {
    const data::ListFacts facts = data::list_facts(source.list, source.list_null);
    part.list_lines = facts.lines;
    part.list_xxh64 = facts.xxh64;
  }
  part.base = retrieval::PartOfList::begin(part.number, part.count, part.list_lines);
  part.transform = transform_text(model);
  part.dtype = dtype;
  return part;
}

OpenStream open_stream(const ModelInfo& model, const std::filesystem::path& model_path,
                       const SourceOptions& source,
                       const std::optional<retrieval::PartOfList>& part) {
  data::StreamRange range;
  if (part) range = {.first = part->base, .last = part->end(), .total = part->list_lines};
  OpenStream stream;
  if (!source.tar.empty()) {
    const data::DecodeOptions decode = decode_options(model, model_path, source);
    stream.scaled_shorter_side = decode.scaled_shorter_side;
    stream.images = std::make_unique<data::TarStream>(source.tar, decode, range);
    stream.name = name_of(source.tar);
    stream.shrinks = true;
  } else if (!source.list.empty() && is_list_of_paths(source)) {
    const data::LineStream::Options options{
        .null = source.list_null,
        .refuse_labels = source.list_labels == "auto" && !source.list_null,
        .image_root = source.image_root,
        .decode = decode_options(model, model_path, source)};
    stream.scaled_shorter_side = options.decode.scaled_shorter_side;
    stream.images = std::make_unique<data::LineStream>(source.list, options, range);
    stream.name = name_of(source.list);
    stream.shrinks = true;
  } else {
    Source set = open_source(model, model_path, source);
    const auto count = std::int64_t(set.items.size());
    HH_REQUIRE(!part || part->list_lines == count,
               set.name << ": it has " << count << " images, and had " << part->list_lines
                        << " a moment ago: leave the list alone while it is encoded");
    stream.name = set.name == data::kStdin ? "stdin" : set.name;
    stream.warnings = std::move(set.warnings);
    stream.scaled_shorter_side = set.scaled_shorter_side;
    stream.images =
        std::make_unique<data::DatasetStream>(std::move(set.dataset), std::move(set.items),
                                              part ? range.first : 0, part ? range.last : count);
  }
  return stream;
}

retrieval::CodeSet about_codes(const ModelHead& model, const OpenStream& stream,
                               const std::optional<retrieval::PartOfList>& part) {
  retrieval::CodeSet about;
  about.codes = retrieval::PackedCodes(0, model.info.config.bits);
  about.classes = stream.images->classes();
  about.class_names = stream.images->class_names();
  about.model_hash = model.hash;
  about.source = as_utf8(stream.name);
  about.exif_orientation = model.info.exif_orientation;
  about.scaled_shorter_side = stream.scaled_shorter_side;
  about.part = part;
  return about;
}

StreamCounts encode_stream(const Model& model, OpenStream& stream, const retrieval::CodeSet& about,
                           const StreamEncoderOptions& options) {
  for (const std::string& warning : stream.warnings) options.listener.warn(warning);
  const data::TransformSpec& transform = model.info.transform;
  const PixelStatistics statistics = pixel_statistics(transform);
  const data::StreamRange& range = stream.images->range();
  Progress progress(
      options.listener, stream.name,
      range.total < 0 ? 0 : (range.last < 0 ? range.total : range.last) - range.first);
  StreamCounts counts;
  BatchCodes codes(model.network, statistics, model.dtype, model.device);
  data::StreamedBatch batch,
      before;  // `before` without its pixels: their memory is the next batch's
  const auto add = [&](std::optional<std::vector<float>> values) {
    if (!values) return;
    options.codes(rows_of(about, before, finite(std::move(*values)), options.keep_outputs));
    counts.codes += std::int64_t(before.items.size());
    progress.update(counts.codes + counts.bad);
  };
  data::StreamLoaderOptions loading{.batch_size = options.batch, .workers = options.workers};
  // Who writes the list may wait for these before the next line.
  loading.while_waiting = [&] {
    options.check_stop();
    add(codes.finish());
  };
  if (stream.shrinks) {
    loading.prepare = [&](data::Image& image) { shrink_to_fit(image, transform); };
  }
  data::StreamLoader loader(*stream.images, transform, loading);
  const auto next = [&] {
    try {
      const bool more = loader.next(batch);
      options.check_stop();
      return more;
    } catch (...) {
      add(codes.finish());  // they are computed: whoever comes again needn't
      throw;
    }
  };
  while (next()) {
    if (!batch.bad.empty() && !options.skip_bad) {
      add(codes.finish());
      refuse_bad(batch.bad, batch.number);
    }
    for (const auto& bad : batch.bad) options.bad(bad);
    if (!batch.bad.empty()) {
      counts.bad += std::int64_t(batch.bad.size());
      progress.update(counts.codes + counts.bad);
    }
    if (batch.items.empty()) continue;
    add(codes.put(batch.pixels));
    std::swap(batch, before);
    std::swap(batch.pixels, before.pixels);
  }
  add(codes.finish());
  // A part may be empty: the others have the codes.
  HH_REQUIRE(counts.codes + counts.bad > 0 || about.part || options.may_be_empty,
             stream.name << ": it names no image: did what writes it fail?");
  HH_REQUIRE(
      counts.codes > 0 || about.part || options.may_be_empty,
      stream.name << ": there is not one readable image: hybridhash dataset check names what "
                     "is wrong with each");
  return counts;
}

}  // namespace hh::pipeline
