// SPDX-License-Identifier: Apache-2.0
#include "pipeline/reencode.h"

#include <algorithm>
#include <vector>

#include "engine/files/folder_in_making.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"
#include "pipeline/index_sync.h"
#include "retrieval/index/index.h"
#include "retrieval/index/snapshot.h"

namespace hh::pipeline {
namespace {
namespace fs = std::filesystem;
using retrieval::Index, retrieval::IndexWriter, retrieval::ItemSet;

constexpr double kWaitSeconds = 60;  // for another process that writes

/// The same item with the same code and all that is known of it.
bool same_item(const Index& a, std::int64_t row_a, const Index& b, std::int64_t row_b) {
  const auto x = a.codes().row(row_a), y = b.codes().row(row_b);
  if (!std::equal(x.begin(), x.end(), y.begin(), y.end())) return false;
  const retrieval::Description p = a.item(row_a).description, q = b.item(row_b).description;
  return p.path == q.path && p.labels == q.labels && p.metadata == q.metadata;
}

class Reencoding {
 public:
  Reencoding(const Model& model, const ReencodeOptions& options, const fs::path& made)
      : model_(model),
        options_(options),
        made_(made),
        root_(options.image_root.empty() ? remembered_image_root(options.index)
                                         : options.image_root) {}

  /// The files of these rows; those that are gone are warned of and taken out.
  std::vector<fs::path> files_of(const Index& index, std::vector<std::int64_t>& rows) {
    std::vector<fs::path> files;
    std::vector<std::int64_t> there;
    std::int64_t gone = 0;
    for (const std::int64_t row : rows) {
      const std::string path = index.item(row).description.path;
      std::error_code ignored;
      if (!path.empty() && fs::is_regular_file(root_ / path, ignored)) {
        files.push_back(root_ / path);
        there.push_back(row);
        continue;
      }
      ++gone;
      options_.encoder.listener.warn(
          "item " + std::to_string(index.ids()[std::size_t(row)]) +
          (path.empty() ? " has no path" : ": " + (root_ / path).string() + " is gone"));
    }
    left_out_ += gone;
    HH_REQUIRE(gone == 0 || options_.skip_gone,
               options_.index.string()
                   << ": the files of " << gone << " of " << counted(rows.size(), "item")
                   << " aren't there: say what their paths start from by --image-root, or leave "
                      "these items out by --skip-gone");
    rows = std::move(there);
    return files;
  }

  /// Rows of `index` through the model, into the new index.
  void encode(const Index& index, std::vector<std::int64_t> rows) {
    const std::vector<fs::path> files = files_of(index, rows);
    EncoderOptions encoder = options_.encoder;
    encoder.keep_outputs = index.manifest().outputs;
    encode_in_pieces(
        model_, files, encoder, options_.max_pixels, options_.index.string(), options_.stop,
        [&](std::size_t first, std::size_t count, retrieval::CodeSet set) {
          const std::int64_t bad = std::int64_t(count) - set.count();
          left_out_ += bad;
          HH_REQUIRE(bad == 0 || options_.skip_gone,
                     options_.index.string() << ": " << counted(bad, "image")
                                             << " can't be read: leave these items out by "
                                                "--skip-gone");
          if (set.count() > 0) {
            store(index, std::span(rows).subspan(first, count), std::move(set));
          }
        });
  }

  /// What others changed since `then`.
  void take_over(const Index& then, const Index& now) {
    if (now.manifest().generation == then.manifest().generation) return;
    std::vector<std::int64_t> changed, removed;
    for (std::int64_t row = 0; row < now.rows(); ++row) {
      if (!now.is_live(row)) continue;
      const auto before = then.row_of(now.ids()[std::size_t(row)]);
      if (!before || !same_item(then, *before, now, row)) changed.push_back(row);
    }
    for (std::int64_t row = 0; row < then.rows(); ++row) {
      const std::int64_t id = then.ids()[std::size_t(row)];
      if (then.is_live(row) && !now.row_of(id)) removed.push_back(id);
    }
    if (!changed.empty()) encode(now, changed);
    if (!removed.empty()) IndexWriter(made_).remove(removed);
  }

  const fs::path& root() const { return root_; }
  std::int64_t left_out() const { return left_out_; }

 private:
  void store(const Index& index, std::span<const std::int64_t> rows, retrieval::CodeSet set) {
    std::vector<std::int64_t> good;
    for (const std::int64_t position : set.ids) good.push_back(rows[std::size_t(position)]);
    ItemSet items = index.contents(good);
    items.set.codes = std::move(set.codes);
    items.set.outputs = std::move(set.outputs);
    items.set.model_hash = set.model_hash;
    items.set.exif_orientation = set.exif_orientation;
    IndexWriter(made_).add(items, retrieval::SameId::kReplace);
  }

  const Model& model_;
  const ReencodeOptions& options_;
  fs::path made_, root_;
  std::int64_t left_out_ = 0;
};

}  // namespace

ReencodeOutcome reencode(const Model& model, const ReencodeOptions& options) {
  const Index then = Index::open(options.index);
  retrieval::check_is_no_snapshot(options.index);
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < then.rows(); ++row) {
    if (then.is_live(row)) rows.push_back(row);
  }
  FolderInMaking made(options.index.has_filename() ? options.index : options.index.parent_path());
  retrieval::create_index(made.path(), model.info.config.bits, then.manifest().outputs);
  Reencoding work(model, options, made.path());
  work.encode(then, std::move(rows));
  if (options.stop()) return {.stopped = true};
  // From here on nobody else changes the old index, nor can it be changed in vain.
  const retrieval::IndexLock lock(options.index, kWaitSeconds);
  work.take_over(then, Index::open(options.index, &then));
  if (options.stop()) return {.stopped = true};
  if (!work.root().empty()) remember_image_root(made.path(), work.root());
  const std::int64_t items = Index::open(made.path()).count();
  made.put_in_place();
  return {.items = items, .left_out = work.left_out()};
}

}  // namespace hh::pipeline
