// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <optional>

#include "engine/files/file.h"
#include "engine/files/folder_in_making.h"
#include "kernels/core/check.h"
#include "pipeline/index_push.h"
#include "retrieval/codes/code_file_writer.h"

namespace hh::pipeline {
namespace {
using retrieval::CodeSet, retrieval::CollectionAbout, retrieval::ItemFormat, retrieval::ItemSet;

/// Thrown through the server's answer to end it.
struct StopPull {};

/// A file in the making that takes items a piece at a time.
struct Sink {
  virtual ~Sink() = default;
  virtual void take(const ItemSet& items) = 0;
  virtual void finish() = 0;
};

class CodesSink final : public Sink {
 public:
  CodesSink(const std::filesystem::path& path, const CollectionAbout& about)
      : writer_(path, about.code_set(), /*names=*/true, /*outputs=*/false) {}
  void take(const ItemSet& items) override {
    if (!items.set.names.empty()) return writer_.append(items.set);
    CodeSet named = items.set;
    named.names.resize(std::size_t(named.count()));
    writer_.append(named);
  }
  void finish() override { writer_.finish(); }

 private:
  retrieval::CodeFileWriter writer_;
};

class TextSink final : public Sink {
 public:
  using Lines = std::string (*)(const ItemSet& items, std::int64_t begin, std::int64_t end);
  TextSink(const std::filesystem::path& path, const std::string& head, Lines lines)
      : file_(path), lines_(lines) {
    file_.write(head);
  }
  void take(const ItemSet& items) override {
    constexpr std::int64_t kLines = 10'000;
    for (std::int64_t begin = 0; begin < items.set.count(); begin += kLines) {
      file_.write(lines_(items, begin, std::min(begin + kLines, items.set.count())));
    }
  }
  void finish() override { file_.commit(); }

 private:
  AtomicFile file_;
  Lines lines_;
};

/// Formats that say at their start how many there are: codes and ids are held until the end.
class WholeSink final : public Sink {
 public:
  WholeSink(std::filesystem::path path, ItemFormat format, const CollectionAbout& about)
      : path_(std::move(path)), format_(format) {
    items_.set.codes = retrieval::PackedCodes(0, about.bits);
  }
  void take(const ItemSet& items) override {
    items_.set.codes.append(items.set.codes);
    items_.set.ids.insert(items_.set.ids.end(), items.set.ids.begin(), items.set.ids.end());
  }
  void finish() override { retrieval::write_items(path_, items_, format_); }

 private:
  std::filesystem::path path_;
  ItemFormat format_;
  ItemSet items_;
};

/// A new index, in place when all items are in it.
class IndexSink final : public Sink {
 public:
  IndexSink(const std::filesystem::path& folder, const CollectionAbout& about)
      : about_(about.code_set()), made_(folder) {
    retrieval::create_index(made_.path(), about.bits);
    writer_.emplace(made_.path());
    writer_->add({.set = about_, .metadata = {}});  // what is known of none, too
  }
  void take(const ItemSet& items) override {
    ItemSet named = items;
    named.set.class_names = about_.class_names;
    named.set.model_hash = about_.model_hash;
    writer_->add(named);
  }
  void finish() override {
    writer_.reset();
    made_.put_in_place();
  }

 private:
  CodeSet about_;
  FolderInMaking made_;
  std::optional<retrieval::IndexWriter> writer_;
};

std::unique_ptr<Sink> sink_of(const std::filesystem::path& out, ItemFormat format,
                              const CollectionAbout& about) {
  switch (format) {
    case ItemFormat::kCodes:
      return std::make_unique<CodesSink>(out, about);
    case ItemFormat::kCsv:
      return std::make_unique<TextSink>(out, retrieval::csv_header(), retrieval::to_csv);
    case ItemFormat::kPgvector:
      return std::make_unique<TextSink>(out, "", retrieval::to_copy_text);
    case ItemFormat::kMilvus:
      return std::make_unique<TextSink>(out, "", retrieval::to_milvus_rows);
    case ItemFormat::kNpy:
    case ItemFormat::kFaiss:
      break;
  }
  return std::make_unique<WholeSink>(out, format, about);
}

}  // namespace

std::int64_t pull(retrieval::Collection& collection, const std::filesystem::path& out,
                  std::optional<ItemFormat> format, const Listener& listener,
                  const std::function<bool()>& stop) {
  const auto about = collection.about();
  HH_REQUIRE(about.has_value(), "there is no such collection; hybridhash index push makes one");
  const std::int64_t total = collection.count({});
  const auto sink = format ? sink_of(out, *format, *about)
                           : std::unique_ptr<Sink>(std::make_unique<IndexSink>(out, *about));
  std::int64_t count = 0;
  try {
    Progress progress(listener, "pull", total, 0, "codes");
    collection.pull([&](const ItemSet& items) {
      if (stop()) throw StopPull{};
      sink->take(items);
      count += items.set.count();
      progress.update(count);
    });
  } catch (const StopPull&) {
    return -1;
  }
  sink->finish();
  return count;
}

}  // namespace hh::pipeline
