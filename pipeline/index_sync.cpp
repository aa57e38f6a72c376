// SPDX-License-Identifier: Apache-2.0
#include "pipeline/index_sync.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "engine/files/folder_in_making.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/index/index.h"

namespace hh::pipeline {
namespace {
namespace fs = std::filesystem;
using retrieval::Description, retrieval::Index, retrieval::IndexWriter, retrieval::ItemSet;

constexpr double kWaitSeconds = 60;       // for another process that writes
constexpr std::size_t kDescribed = 4096;  // items that are described anew in one change

/// Items whose classes are given by name or by number, on their way into an index.
class ItemsInMaking {
 public:
  explicit ItemsInMaking(const Index& index)
      : names_(index.manifest().class_names), classes_(index.manifest().classes) {}

  int class_named(const std::string& name) {
    HH_REQUIRE(classes_ == int(names_.size()),
               "the index's classes have numbers and no names: leave --class-folders out");
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found != names_.end()) return int(found - names_.begin());
    names_.push_back(name);
    return classes_++;
  }
  /// In the order of the codes. `old`: what was known of it, or null.
  void describe(const SyncFile& file, const Description* old, bool class_folders) {
    items.set.names.push_back(file.path);
    items.metadata.push_back(with_record(old == nullptr ? "" : old->metadata, file.record));
    std::vector<int> labels;
    if (!class_folders) {
      if (old != nullptr) labels = old->labels;
    } else if (!file.label.empty()) {
      labels = {class_named(file.label)};
    }
    labels_.push_back(std::move(labels));
  }
  ItemSet& finished() {
    items.set.classes = classes_;
    items.set.class_names = names_;
    items.set.labels.clear();
    for (const std::vector<int>& labels : labels_) {
      if (classes_ > 0) retrieval::append_labels(items.set.labels, classes_, labels);
    }
    return items;
  }

  ItemSet items;

 private:
  std::vector<std::string> names_;
  int classes_;
  std::vector<std::vector<int>> labels_;
};

class Sync {
 public:
  Sync(const SyncPlan& plan, const SyncRoots& roots, const SyncOptions& options,
       const std::function<const Model&()>& model)
      : plan_(plan), roots_(roots), options_(options), model_(model) {}

  SyncOutcome run() {
    std::error_code ignored;
    const bool exists = fs::exists(options_.index, ignored);
    if (exists) {
      known_.emplace(Index::open(options_.index));
      if (!plan_.encode.empty()) known_->check_belongs(model_().info.config.bits, model_().hash);
      describe();
      remove();
    } else if (!plan_.encode.empty()) {
      make();
    }
    if (known_) remember_image_root(options_.index, roots_.image_root);
    encode();
    return outcome_;
  }

 private:
  template <class Change>
  void change(const Change& change) {
    {
      IndexWriter writer(options_.index, kWaitSeconds, known_ ? &*known_ : nullptr);
      change(writer);
    }
    known_.emplace(Index::open(options_.index, known_ ? &*known_ : nullptr));
  }
  void make() {
    const fs::path place =
        options_.index.has_filename() ? options_.index : options_.index.parent_path();
    FolderInMaking made(place);
    retrieval::create_index(made.path(), model_().info.config.bits, options_.encoder.keep_outputs);
    made.put_in_place();
    known_.emplace(Index::open(options_.index));
  }
  /// Its check sum. Where the file changed since it was looked at, nobody knows which of its contents
  /// was encoded: a record that fits no file makes the next sync encode it again.
  void complete(SyncFile& file) const {
    const fs::path path = roots_.image_root / file.path;
    try {
      if (!file.known) file.record.checksum = checksum_of(path);
      const auto now = record_of(path);
      if (now && now->same_time(file.record)) return;
    } catch (const std::runtime_error&) {  // it is gone
    }
    file.record = {};
  }
  void describe();
  void remove();
  void encode();
  void store(std::size_t first, retrieval::CodeSet set);

  const SyncPlan& plan_;
  const SyncRoots& roots_;
  const SyncOptions& options_;
  const std::function<const Model&()>& model_;
  std::optional<Index> known_;  // the last state seen
  SyncOutcome outcome_;
};

void Sync::describe() {
  for (std::size_t begin = 0; begin < plan_.describe.size(); begin += kDescribed) {
    if (options_.stop()) return;
    const std::size_t end = std::min(begin + kDescribed, plan_.describe.size());
    change([&](IndexWriter& writer) {
      // Items that another process deleted meanwhile stay deleted.
      std::vector<const SyncFile*> files;
      std::vector<std::int64_t> rows;
      for (std::size_t i = begin; i < end; ++i) {
        const auto row = writer.index().row_of(plan_.describe[i].id);
        if (!row) continue;
        files.push_back(&plan_.describe[i]);
        rows.push_back(*row);
      }
      if (rows.empty()) return;
      ItemsInMaking made(writer.index());
      made.items = writer.index().contents(rows);
      made.items.set.names.clear();
      made.items.metadata.clear();
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const Description old = writer.index().item(rows[i]).description;
        made.describe(*files[i], &old, plan_.class_folders);
        ++(files[i]->moved_from.empty() ? outcome_.touched : outcome_.moved);
      }
      writer.add(made.finished(), retrieval::SameId::kReplace);
    });
  }
}

void Sync::remove() {
  if (plan_.gone.empty() || options_.stop()) return;
  std::vector<std::int64_t> ids;
  for (const auto& [id, path] : plan_.gone) ids.push_back(id);
  change([&](IndexWriter& writer) { outcome_.gone = writer.remove(ids); });
}

void Sync::encode() {
  outcome_.stopped = options_.stop();
  if (plan_.encode.empty() || outcome_.stopped) return;
  std::vector<fs::path> files;
  for (const SyncFile& file : plan_.encode) files.push_back(roots_.image_root / file.path);
  EncoderOptions encoder = options_.encoder;
  encoder.keep_outputs = known_->manifest().outputs;
  encode_in_pieces(model_(), files, encoder, options_.max_pixels, options_.index.string(),
                   options_.stop,
                   [&](std::size_t first, std::size_t count, retrieval::CodeSet set) {
                     outcome_.bad += std::int64_t(count) - set.count();
                     if (set.count() > 0) store(first, std::move(set));
                   });
  outcome_.stopped = options_.stop();
}

void Sync::store(std::size_t first, retrieval::CodeSet set) {
  change([&](IndexWriter& writer) {
    const Index& index = writer.index();
    ItemsInMaking made(index);
    made.items.set = std::move(set);
    retrieval::CodeSet& items = made.items.set;
    items.names.clear();
    items.source = as_utf8(roots_.image_root.string());
    std::int64_t next = index.manifest().next_id;
    for (std::int64_t& id : items.ids) {
      SyncFile file = plan_.encode[first + std::size_t(id)];
      complete(file);
      std::optional<Description> old;
      if (file.id >= 0) {
        if (const auto row = index.row_of(file.id)) old = index.item(*row).description;
      }
      made.describe(file, old ? &*old : nullptr, plan_.class_folders);
      ++(file.id < 0 ? outcome_.added : outcome_.changed);
      id = file.id < 0 ? next++ : file.id;
    }
    writer.add(made.finished(), retrieval::SameId::kReplace);
  });
}

}  // namespace

SyncOutcome apply_sync(const SyncPlan& plan, const SyncRoots& roots, const SyncOptions& options,
                       const std::function<const Model&()>& model) {
  return Sync(plan, roots, options, model).run();
}

void encode_in_pieces(
    const Model& model, const std::vector<fs::path>& files, const EncoderOptions& encoder,
    double max_pixels, const std::string& what, const std::function<bool()>& stop,
    const std::function<void(std::size_t, std::size_t, retrieval::CodeSet)>& done) {
  using Clock = std::chrono::steady_clock;
  constexpr double kSeconds = 5;  // of a piece, about
  Progress progress(encoder.listener, what, std::int64_t(files.size()));
  std::size_t count = std::size_t(encoder.batch);
  for (std::size_t first = 0; first < files.size();) {
    if (stop()) return;
    const std::size_t end = std::min(first + count, files.size());
    SourceOptions source{.max_pixels = max_pixels};
    for (std::size_t i = first; i < end; ++i) source.files.push_back(files[i].string());
    EncoderOptions options = encoder;
    options.skip_bad = options.may_be_none = true;
    options.listener.progress = [&](const ProgressState& state) {
      if (!state.ended) progress.update(std::int64_t(first) + state.done);
    };
    const auto start = Clock::now();
    done(first, end - first,
         encode_source(model, open_source(model.info, "the model", source), options));
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    progress.update(std::int64_t(end));
    first = end;
    if (seconds < kSeconds / 2) count *= 2;
  }
}

}  // namespace hh::pipeline
