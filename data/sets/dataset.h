// SPDX-License-Identifier: Apache-2.0
// Images with labels, by index. Either all in memory (Fashion-MNIST, CIFAR-10) or one file each.
// Reading is const and safe from many threads.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/images/decode.h"
#include "data/images/image.h"
#include "data/sets/labels.h"

namespace hh::data {

class Dataset {
 public:
  virtual ~Dataset() = default;

  std::int64_t size() const { return labels_.items(); }
  int classes() const { return labels_.classes(); }
  const Labels& labels() const { return labels_; }
  /// One per class; empty when the source has none.
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// What was passed over when the set was opened, a line each, for the user; usually empty.
  const std::vector<std::string>& notes() const { return notes_; }

  /// How the item is called in code files and tables: its path, or "fashion-mnist#12345".
  virtual std::string name(std::int64_t index) const = 0;
  /// Where a person finds the item's entry: "train.txt:17: a/b.jpg" for lists, else its name.
  virtual std::string location(std::int64_t index) const { return name(index); }
  /// Whether load() will find something to read, told without decoding.
  virtual bool available(std::int64_t) const { return true; }
  /// Of the item's own file, which isn't read; -1 if it has none, or it isn't there.
  virtual std::int64_t file_bytes(std::int64_t) const { return -1; }
  /// Into `image`, whose memory is reused. Throws ImageError.
  virtual void load(std::int64_t index, Image& image) const = 0;
  Image load(std::int64_t index) const;

 protected:
  Dataset(Labels labels, std::vector<std::string> class_names, std::vector<std::string> notes = {});
  /// Throws std::invalid_argument unless 0 <= index < size().
  void check_index(std::int64_t index) const;

 private:
  Labels labels_;
  std::vector<std::string> class_names_, notes_;
};

/// All images of one size, in memory.
class MemoryDataset : public Dataset {
 public:
  /// pixels: size x height x width x channels.
  MemoryDataset(std::string source, int height, int width, int channels,
                std::vector<std::uint8_t> pixels, Labels labels,
                std::vector<std::string> class_names);
  using Dataset::load;
  std::string name(std::int64_t index) const override;  // "source#index"
  void load(std::int64_t index, Image& image) const override;

 private:
  std::string source_;
  int height_, width_, channels_;
  std::vector<std::uint8_t> pixels_;
};

/// One file per item, decoded at every load.
class FileDataset : public Dataset {
 public:
  struct Item {
    std::string path;       // as written in its list
    std::int32_t list = 0;  // index into `lists`
    std::int32_t line = 0;  // 1-based; 0: not from a list
  };
  /// Relative paths are taken from `root` (empty: the working directory, as the reference does).
  FileDataset(std::filesystem::path root, std::vector<std::string> lists, std::vector<Item> items,
              Labels labels, std::vector<std::string> class_names, DecodeOptions decode,
              std::vector<std::string> notes = {});
  using Dataset::load;
  std::string name(std::int64_t index) const override;
  std::string location(std::int64_t index) const override;
  bool available(std::int64_t index) const override;
  std::int64_t file_bytes(std::int64_t index) const override;
  void load(std::int64_t index, Image& image) const override;
  std::filesystem::path file(std::int64_t index) const;
  const std::filesystem::path& root() const { return root_; }
  const DecodeOptions& decode_options() const { return decode_; }

 private:
  std::filesystem::path root_;
  std::vector<std::string> lists_;
  std::vector<Item> items_;
  DecodeOptions decode_;
};

}  // namespace hh::data
