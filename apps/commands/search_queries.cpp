// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/search_queries.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "apps/terminal/progress_bar.h"
#include "data/experiments/shuffle.h"
#include "kernels/core/check.h"
#include "kernels/core/label_bits.h"
#include "pipeline/data_source.h"
#include "retrieval/files/item_files.h"

namespace hh::apps {
namespace {

using retrieval::CodeSet, retrieval::Index;

void add_index_items(const Index& index, const std::vector<std::int64_t>& ids, Queries& queries) {
  CodeSet& set = queries.set;
  for (const std::int64_t id : ids) {
    const auto row = index.row_of(id);
    HH_REQUIRE(row.has_value(), index.folder().string() << ": there is no item with id " << id
                                                        << " (hybridhash index export lists them)");
    const retrieval::IndexItem item = index.item(*row);
    queries.rows.push_back(*row);
    add_query(set, id, index.codes().slice(*row, *row + 1), item.description);
    const auto outputs = index.outputs_of(*row);
    set.outputs.insert(set.outputs.end(), outputs.begin(), outputs.end());
  }
}

CodeSet codes_as_queries(const std::vector<std::string>& texts, int bits) {
  CodeSet set;
  for (const std::string& text : texts) {
    set.ids.push_back(set.count());
    set.names.push_back("code " + text);
    set.codes.append(retrieval::parse_code(text, bits));
  }
  return set;
}

Queries images_as_queries(const QueryOptions& o, Device device) {
  HH_REQUIRE(!o.model.empty(), "to search by images, give the --model that made the index's codes");
  const auto model = pipeline::load_model(o.model, device, o.type);
  pipeline::SourceOptions source;
  source.files = o.images;
  source.list = o.list;
  source.image_root = o.image_root;
  source.max_pixels = o.max_pixels;
  pipeline::EncoderOptions encoder = o.encoder;
  encoder.keep_outputs = true;
  encoder.listener = terminal_listener();
  return {.set = pipeline::encode_source(
              *model, pipeline::open_source(model->info, o.model, source), encoder),
          .rows = {},
          .exif_orientation = model->info.exif_orientation};
}

/// The chosen ones, in their order.
CodeSet subset(const CodeSet& set, const std::vector<std::int64_t>& chosen) {
  CodeSet part;
  part.classes = set.classes;
  part.class_names = set.class_names;
  part.model_hash = set.model_hash;
  const auto words = std::size_t(label_words(set.classes));
  for (const std::int64_t i : chosen) {
    part.codes.append(set.codes.view().slice(i, i + 1));
    part.ids.push_back(set.ids[std::size_t(i)]);
    if (!set.names.empty()) part.names.push_back(set.names[std::size_t(i)]);
    const auto labels = set.labels.begin() + std::ptrdiff_t(std::size_t(i) * words);
    part.labels.insert(part.labels.end(), labels, labels + std::ptrdiff_t(words));
    if (set.outputs.empty()) continue;
    const auto bits = std::ptrdiff_t(set.codes.bits());
    const auto outputs = set.outputs.begin() + std::ptrdiff_t(i) * bits;
    part.outputs.insert(part.outputs.end(), outputs, outputs + bits);
  }
  return part;
}

/// `count` different numbers below n, ascending.
std::vector<std::int64_t> draw(std::int64_t n, std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> chosen(std::size_t(n), 0);
  std::iota(chosen.begin(), chosen.end(), 0);
  data::shuffle(chosen, Philox(seed, RandomPurpose::kSplit));
  chosen.resize(std::size_t(std::min(n, count)));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

void add_query(CodeSet& set, std::int64_t id, retrieval::CodesView code,
               const retrieval::Description& description) {
  set.codes.append(code);
  set.ids.push_back(id);
  set.names.push_back(description.path.empty() ? fmt::format("#{}", id) : description.path);
  retrieval::append_labels(set.labels, set.classes, description.labels);
}

Queries read_queries(const QueryOptions& o, const Index& index, Device device) {
  return read_queries(
      o, retrieval::CollectionAbout::of(index.manifest()),
      [&](const std::vector<std::int64_t>& ids, Queries& queries) {
        add_index_items(index, ids, queries);
      },
      device);
}

Queries read_queries(const QueryOptions& o, const retrieval::CollectionAbout& about,
                     const AddItems& add_items, Device device) {
  const int kinds = !o.images.empty() + !o.list.empty() + !o.code_texts.empty() + !o.ids.empty() +
                    !o.codes.empty();
  HH_REQUIRE(kinds == 1,
             "what to search for? Give one of --image, --list, --code, --id and --codes");
  Queries queries{.set = {}, .rows = {}};
  queries.exif_orientation = about.exif_orientation.value_or(true);
  if (!o.ids.empty()) {
    queries.set.classes = about.classes;
    queries.set.class_names = about.class_names;
    add_items(o.ids, queries);
  } else if (!o.code_texts.empty()) {
    queries.set = codes_as_queries(o.code_texts, about.bits);
  } else if (!o.codes.empty()) {
    queries.set =
        retrieval::read_items(
            o.codes, {.format = retrieval::code_format_named(o.code_format), .bits = about.bits})
            .set;
  } else {
    queries = images_as_queries(o, device);
  }
  about.check_belongs(queries.set.codes.bits(), queries.set.model_hash,
                      o.mix_int8 ? retrieval::Int8Codes::kMixed : retrieval::Int8Codes::kApart);
  if (o.sample > 0) {
    const auto chosen = draw(queries.set.count(), o.sample, o.seed);
    queries.set = subset(queries.set, chosen);
    std::vector<std::int64_t> rows;
    for (const std::int64_t i : chosen) {
      if (!queries.rows.empty()) rows.push_back(queries.rows[std::size_t(i)]);
    }
    queries.rows = rows;
  }
  return queries;
}

}  // namespace hh::apps
