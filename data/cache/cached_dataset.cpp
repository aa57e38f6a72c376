// SPDX-License-Identifier: Apache-2.0
#include "data/cache/cached_dataset.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "data/cache/picture_cache.h"
#include "data/images/decode.h"
#include "engine/files/file_error.h"
#include "engine/files/folder_lock.h"
#include "engine/files/xxh64.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"
#include "kernels/core/parallel.h"

namespace hh::data {
namespace {
namespace fs = std::filesystem;

/// Raised when the same file and options give other pixels than before.
constexpr int kPixelsVersion = 1;

std::string absolute_name(const FileDataset& files, std::int64_t item) {
  return fs::absolute(files.file(item)).lexically_normal().string();
}

/// What decides the pixels of a file, but for the libraries' versions.
std::string settings_of(const FileDataset& files, const TransformSpec& transform) {
  const DecodeOptions& decode = files.decode_options();
  std::string text;
  for (const std::int64_t number :
       {std::int64_t{decode.channels}, std::int64_t{decode.exif_orientation},
        std::int64_t{decode.scaled_shorter_side}, decode.max_pixels, std::int64_t(transform.resize),
        std::int64_t{transform.resize == Resize::kNone ? 0 : transform.resize_to}}) {
    text += std::to_string(number) + " ";
  }
  // Without a root paths start from the working directory.
  return text + (fs::current_path() / files.root()).lexically_normal().string();
}

std::string made_by(const FileDataset& files, const TransformSpec& transform) {
  return "pixels " + std::to_string(kPixelsVersion) + ", " + decoder_versions() + ", " +
         settings_of(files, transform);
}

fs::path file_of(const FileDataset& files, const CacheOptions& options) {
  Xxh64 sum;
  sum.update(settings_of(files, options.transform));
  return options.folder / ("pictures-" + xxh64_text(sum.value()) + ".cache");
}

/// A file of the data set, and what is to be done with it.
struct Wanted {
  enum class Fate { kAbsent, kKeep, kRenew, kDecode };
  std::int64_t item = 0;  // the first with this file
  std::string name;
  FileFacts facts;
  std::int64_t old = -1;  // in the cache that is there
  Fate fate = Fate::kAbsent;
  bool changed = false;  // the cache has what the file was before
};

std::vector<Wanted> wanted_files(const FileDataset& files, const std::vector<std::int64_t>& items) {
  std::vector<Wanted> wanted;
  std::unordered_set<std::string> seen;
  for (const std::int64_t item : items) {
    std::string name = absolute_name(files, item);
    if (seen.insert(name).second)
      wanted.push_back({.item = item, .name = std::move(name), .facts = {}});
  }
  return wanted;
}

template <class Body>
void for_each_file(std::vector<Wanted>& wanted, Body body) {
  cpu::parallel_items(std::int64_t(wanted.size()),
                      [&](int, std::int64_t i) { body(wanted[std::size_t(i)]); });
}

/// Nothing where the file can't be read.
std::optional<std::uint64_t> hash_of(const std::string& name) {
  try {
    const std::vector<std::uint8_t> bytes = read_file(name, kMaxImageFileBytes);
    return xxh64(std::as_bytes(std::span(bytes)));
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

void decide(Wanted& file, const PictureCache* cache) {
  file.facts = facts_of(file.name);
  file.old = cache == nullptr ? -1 : cache->find(file.name);
  file.fate = Wanted::Fate::kAbsent;
  if (file.facts.bytes < 0) return;
  file.fate = Wanted::Fate::kDecode;
  if (file.old < 0) return;
  const CachedPicture& known = cache->picture(file.old);
  if (known.file == file.facts) {
    file.fate = Wanted::Fate::kKeep;
  } else if (known.file.bytes == file.facts.bytes && hash_of(file.name) == known.file_xxh64) {
    file.fate = Wanted::Fate::kRenew;
  } else {
    file.changed = true;
  }
}

struct Opened {
  std::optional<PictureCache> cache;
  std::string damage;  // why there is none although there is a file
};

Opened open_cache(const fs::path& path, const std::string& maker) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return {};
  try {
    PictureCache cache = PictureCache::open(path);
    if (cache.made_by() != maker) return {};  // by other versions of the libraries
    return {std::move(cache), ""};
  } catch (const TryAgain&) {
    throw;
  } catch (const std::runtime_error& error) {
    return {std::nullopt, error.what()};
  }
}

/// A file that was written a moment ago may be written again within the same tick of the file system's
/// clock, and its times would tell nothing. So its time is forgotten, and the next look reads it.
FileFacts without_fresh_time(FileFacts facts) {
  constexpr std::int64_t kTickNs = 2'000'000'000;  // the coarsest there is: FAT's
  const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  if (facts.modified_ns > now - kTickNs) facts.modified_ns = -1;
  return facts;
}

struct Decoded {
  CachedPicture about;
  Image image;
  bool kept = true;  // false: the disk was at fault, not the image
};

Decoded decode(const Wanted& file, const DecodeOptions& options, const TransformSpec& transform) {
  Decoded result;
  result.about.file = without_fresh_time(file.facts);
  try {
    const std::vector<std::uint8_t> bytes = read_file(file.name, kMaxImageFileBytes);
    result.about.file_xxh64 = xxh64(std::as_bytes(std::span(bytes)));
    Image image = decode_image(bytes, options);
    resize_if_smaller(transform, image);
    result.about.height = image.height;
    result.about.width = image.width;
    result.image = std::move(image);
  } catch (const TryAgain&) {
    result.kept = false;
  } catch (const std::runtime_error&) {
    // It is kept without pixels: load() says what is wrong with it, and not every start tries it again.
  }
  return result;
}

/// Writes the file anew: what stays as it is, then what has to be decoded.
class Writing {
 public:
  Writing(const FileDataset& files, const CacheOptions& options, std::vector<Wanted>& wanted,
          const PictureCache* old)
      : files_(files),
        options_(options),
        wanted_(wanted),
        old_(old),
        writer_(file_of(files, options), files.decode_options().channels,
                made_by(files, options.transform)) {}

  /// The number of files decoded.
  std::int64_t run() {
    keep_wanted();
    keep_others();
    const std::int64_t decoded = decode_rest();
    writer_.commit();
    return decoded;
  }

 private:
  /// False where the pixels are damaged.
  bool copy(std::int64_t i, const FileFacts& facts) {
    CachedPicture about = old_->picture(i);
    pixels_.clear();
    if (about.height > 0 && !old_->read_pixels(i, pixels_)) return false;
    about.file = facts;
    writer_.add(old_->name(i), about, std::as_bytes(std::span(pixels_)));
    return true;
  }

  void keep_wanted() {
    for (Wanted& file : wanted_) {
      if (file.fate != Wanted::Fate::kKeep && file.fate != Wanted::Fate::kRenew) continue;
      const bool renew = file.fate == Wanted::Fate::kRenew;
      const FileFacts facts = renew ? without_fresh_time(file.facts) : old_->picture(file.old).file;
      if (!copy(file.old, facts)) file.fate = Wanted::Fate::kDecode;
    }
  }

  /// Those of other data sets below the same folder, while their files are what they were.
  void keep_others() {
    if (old_ == nullptr) return;
    std::unordered_set<std::int64_t> ours;
    for (const Wanted& file : wanted_) ours.insert(file.old);
    for (std::int64_t i = 0; i < old_->size(); ++i) {
      const FileFacts& facts = old_->picture(i).file;
      if (!ours.contains(i) && facts == facts_of(std::string(old_->name(i)))) copy(i, facts);
    }
  }

  std::int64_t decode_rest() {
    std::vector<const Wanted*> rest;
    for (const Wanted& file : wanted_) {
      if (file.fate == Wanted::Fate::kDecode) rest.push_back(&file);
    }
    const auto total = std::int64_t(rest.size());
    std::int64_t done = 0;
    options_.progress(0, total);
    // So few at once that large pictures don't fill the memory.
    const std::int64_t at_once = 4 * std::int64_t{cpu::num_threads()};
    for (std::int64_t from = 0; from < total; from += at_once) {
      std::vector<Decoded> decoded(std::size_t(std::min(at_once, total - from)));
      cpu::parallel_items(std::int64_t(decoded.size()), [&](int, std::int64_t i) {
        decoded[std::size_t(i)] =
            decode(*rest[std::size_t(from + i)], files_.decode_options(), options_.transform);
      });
      for (std::size_t i = 0; i < decoded.size(); ++i) {
        if (!decoded[i].kept) continue;
        ++done;
        writer_.add(rest[std::size_t(from) + i]->name, decoded[i].about,
                    std::as_bytes(std::span(decoded[i].image.pixels)));
      }
      options_.progress(from + std::int64_t(decoded.size()), total);
    }
    return done;
  }

  const FileDataset& files_;
  const CacheOptions& options_;
  std::vector<Wanted>& wanted_;
  const PictureCache* old_;
  PictureCacheWriter writer_;
  std::vector<std::uint8_t> pixels_;  // of the picture that is copied
};

FolderLock wait_for_lock(const CacheOptions& options) {
  constexpr std::chrono::milliseconds kBetween(100);
  for (bool told = false;; told = true) {
    try {
      return FolderLock(options.folder, "another process writes a cache there: waiting for it");
    } catch (const FolderBusy& busy) {
      if (!told) options.report(busy.what());
      std::this_thread::sleep_for(kBetween);
    }
  }
}

std::int64_t write(const FileDataset& files, const CacheOptions& options,
                   std::vector<Wanted>& wanted, const PictureCache* old) {
  try {
    return Writing(files, options, wanted, old).run();
  } catch (const DiskFull& full) {
    throw DiskFull(std::string(full.what()) + ": the decoded pictures of " +
                   counted(wanted.size(), "file") +
                   " don't fit there: free room, or choose another folder");
  }
}

/// Takes the cache for the pictures that it holds, the files for all others.
class CachedDataset final : public Dataset {
 public:
  CachedDataset(std::shared_ptr<const FileDataset> files, PictureCache cache,
                std::vector<std::int64_t> places)
      : Dataset(files->labels(), files->class_names(), files->notes()),
        files_(std::move(files)),
        cache_(std::move(cache)),
        places_(std::move(places)) {}
  using Dataset::load;
  std::string name(std::int64_t index) const override { return files_->name(index); }
  std::string location(std::int64_t index) const override { return files_->location(index); }
  bool available(std::int64_t index) const override { return files_->available(index); }
  std::int64_t file_bytes(std::int64_t index) const override { return files_->file_bytes(index); }
  void load(std::int64_t index, Image& image) const override {
    check_index(index);
    const std::int64_t place = places_[std::size_t(index)];
    if (place < 0 || !cache_.read_pixels(place, image.pixels)) return files_->load(index, image);
    const CachedPicture& picture = cache_.picture(place);
    image.reshape(picture.height, picture.width, cache_.channels());
  }

 private:
  std::shared_ptr<const FileDataset> files_;
  PictureCache cache_;
  std::vector<std::int64_t> places_;  // of each item in the cache; -1: not there
};

/// `cache` has of each wanted file that is there what it is now.
CachedSet attach(std::shared_ptr<const FileDataset> files, PictureCache cache,
                 const std::vector<std::int64_t>& items, const std::vector<Wanted>& wanted,
                 CacheFacts facts) {
  std::unordered_map<std::string_view, std::int64_t> held;
  for (const Wanted& file : wanted) {
    const std::int64_t place = file.fate == Wanted::Fate::kAbsent ? -1 : cache.find(file.name);
    if (place >= 0 && cache.picture(place).height > 0) {
      held.emplace(file.name, place);
    } else if (facts.first_without.empty()) {
      facts.first_without = file.name;
    }
  }
  std::vector<std::int64_t> places(std::size_t(files->size()), -1);
  for (const std::int64_t item : items) {
    const auto found = held.find(absolute_name(*files, item));
    if (found != held.end()) places[std::size_t(item)] = found->second;
  }
  facts.wanted = std::int64_t(wanted.size());
  facts.held = std::int64_t(held.size());
  facts.bytes = cache.file_bytes();
  return {std::make_shared<CachedDataset>(std::move(files), std::move(cache), std::move(places)),
          facts};
}

/// Throws std::invalid_argument where it can't be made.
void make_folder(const CacheOptions& options) {
  std::error_code error;
  fs::create_directories(options.folder, error);
  HH_REQUIRE(!error, "data.cache = " << options.folder.string() << ": the folder can't be made ("
                                     << error.message() << "); name one that can");
}

/// A pipe would be waited for, and a device written over.
void check_kind(const fs::path& file) {
  std::error_code ignored;
  HH_REQUIRE(!fs::exists(file, ignored) || fs::is_regular_file(file, ignored),
             file.string() << ": it isn't a file that could be a cache; remove it, or use another "
                              "data.cache");
}

}  // namespace

std::string held_text(std::int64_t held, std::int64_t wanted, const std::string& first_without) {
  std::string text = std::to_string(held) + " of " + counted(wanted, "image file");
  if (!first_without.empty()) {
    const std::int64_t others = wanted - held - 1;
    text += " (not " + first_without;
    if (others > 0) text += " and " + counted(others, "other");
    text += ")";
  }
  return text;
}

CachedSet with_cache(std::shared_ptr<const FileDataset> files,
                     const std::vector<std::int64_t>& items, const CacheOptions& options) {
  CacheFacts facts{.file = file_of(*files, options)};
  check_kind(facts.file);
  const std::string maker = made_by(*files, options.transform);
  std::vector<Wanted> wanted = wanted_files(*files, items);
  Opened opened;
  const auto is_complete = [&] {
    opened = open_cache(facts.file, maker);
    const PictureCache* const cache = opened.cache ? &*opened.cache : nullptr;
    for_each_file(wanted, [&](Wanted& file) { decide(file, cache); });
    return cache != nullptr && std::none_of(wanted.begin(), wanted.end(), [](const Wanted& file) {
             return file.fate == Wanted::Fate::kDecode || file.fate == Wanted::Fate::kRenew;
           });
  };
  if (!is_complete()) {
    make_folder(options);
    const FolderLock lock = wait_for_lock(options);
    if (!is_complete()) {  // another process may have written it meanwhile
      if (!opened.damage.empty()) options.warn(opened.damage + ": it is made anew");
      facts.changed = std::count_if(wanted.begin(), wanted.end(),
                                    [](const Wanted& file) { return file.changed; });
      facts.decoded = write(*files, options, wanted, opened.cache ? &*opened.cache : nullptr);
      opened.cache = PictureCache::open(facts.file);
    }
  }
  return attach(std::move(files), std::move(*opened.cache), items, wanted, facts);
}

CacheCheck check_cache(const FileDataset& files, const std::vector<std::int64_t>& items,
                       const CacheOptions& options) {
  CacheCheck check{.file = file_of(files, options)};
  check_kind(check.file);
  std::vector<Wanted> wanted = wanted_files(files, items);
  check.wanted = std::int64_t(wanted.size());
  Opened opened = open_cache(check.file, made_by(files, options.transform));
  check.damage = opened.damage;
  if (!opened.cache) return check;
  const PictureCache& cache = *opened.cache;
  check.bytes = cache.file_bytes();
  std::vector<char> stale(wanted.size()), held(wanted.size());
  for_each_file(wanted, [&](Wanted& file) {
    decide(file, &cache);
    const auto at = std::size_t(&file - wanted.data());
    if (file.fate == Wanted::Fate::kDecode || file.old < 0) return;
    std::vector<std::uint8_t> pixels;
    held[at] = cache.read_pixels(file.old, pixels) ? 1 : 0;
    if (held[at] == 1 && hash_of(file.name) != cache.picture(file.old).file_xxh64) stale[at] = 1;
  });
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    check.held += held[i];
    check.changed += wanted[i].changed;
    if (held[i] == 0 && check.first_without.empty()) check.first_without = wanted[i].name;
    if (stale[i] != 0) check.stale.push_back(wanted[i].item);
  }
  return check;
}

}  // namespace hh::data
