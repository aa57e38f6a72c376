// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/code_file.h"

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>

#include "engine/files/xxh64.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/codes/parts.h"
#include "retrieval/files/npy.h"

namespace hh::retrieval {
namespace {

constexpr const char* kFormat = "hybridhash codes";

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// Reads the parts of a file, each with its checks.
class Reader {
 public:
  Reader(const SafetensorsFile& file, const std::string& name) : file_(file), name_(name) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(name_ + ": not a usable code file: " + what +
                             ": encode the images again");
  }

  std::string metadata(const std::string& key) const {
    const auto it = file_.metadata().find(key);
    return it == file_.metadata().end() ? std::string() : it->second;
  }

  int number(const std::string& key, int least, int most) const {
    const std::string text = metadata(key);
    // At most six digits, so it can't overflow.
    const bool digits = !text.empty() && text.size() <= 6 &&
                        text.find_first_not_of("0123456789") == std::string::npos;
    const int value = digits ? std::stoi(text) : -1;
    if (value < least || value > most) {
      fail("metadata " + key + " = '" + text + "', not a number from " + std::to_string(least) +
           " to " + std::to_string(most));
    }
    return value;
  }

  /// Up to 18 digits, so it can't overflow.
  std::int64_t whole(const std::string& key) const {
    const std::string text = metadata(key);
    if (text.empty() || text.size() > 18 ||
        text.find_first_not_of("0123456789") != std::string::npos) {
      fail("metadata " + key + " = '" + text + "', not a whole number");
    }
    return std::stoll(text);
  }

  std::optional<PartOfList> part() const {
    const std::string text = metadata("part");
    if (text.empty()) return std::nullopt;
    const auto named = PartOfList::named(text);
    if (!named) fail("metadata part = '" + text + "', not NUMBER/COUNT");
    PartOfList part = *named;
    part.base = whole("base");
    part.list_lines = whole("list_lines");
    part.transform = metadata("transform");
    part.dtype = metadata("dtype");
    if (part.base != PartOfList::begin(part.number, part.count, part.list_lines)) {
      fail("metadata base = " + std::to_string(part.base) + ", and part " + text + " of " +
           std::to_string(part.list_lines) + " images begins elsewhere");
    }
    const std::string sum = metadata("list_xxh64");
    const auto list_xxh64 = parse_xxh64(sum);
    if (!list_xxh64) fail("metadata list_xxh64 = '" + sum + "', not 16 hexadecimal digits");
    part.list_xxh64 = *list_xxh64;
    return part;
  }

  bool has(const std::string& tensor) const { return file_.contains(tensor); }

  void check(const std::string& tensor, const std::string& dtype,
             const std::vector<std::int64_t>& shape) const {
    const auto& entry = file_.entry(tensor);
    if (entry.dtype != dtype) fail(tensor + " is " + entry.dtype + ", not " + dtype);
    if (entry.shape != shape)
      fail(tensor + " has the shape " + text(entry.shape) + ", not " + text(shape));
  }

  /// Copies a tensor whose type and shape must be these.
  template <class T>
  std::vector<T> values(const std::string& tensor, const std::string& dtype,
                        const std::vector<std::int64_t>& shape) const {
    check(tensor, dtype, shape);
    const auto& entry = file_.entry(tensor);
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
  }

  /// Rows of `codes`, whatever their number.
  std::int64_t count() const {
    const auto& shape = file_.entry("codes").shape;
    if (shape.size() != 2) fail("codes has " + std::to_string(shape.size()) + " axes, not 2");
    return shape[0];
  }

  std::vector<std::string> names(std::int64_t count) const {
    const auto& blob = file_.entry("names");
    if (blob.dtype != "U8" || blob.shape.size() != 1) fail("names isn't a list of bytes");
    const auto offsets = values<std::int64_t>("name_offsets", "I64", {count + 1});
    const auto end = std::int64_t(blob.bytes.size());
    if (offsets.front() != 0 || offsets.back() != end) {
      fail("name_offsets run from " + std::to_string(offsets.front()) + " to " +
           std::to_string(offsets.back()) + ", but the names from 0 to " + std::to_string(end));
    }
    const char* bytes = reinterpret_cast<const char*>(blob.bytes.data());
    std::vector<std::string> names;
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
      if (offsets[i] > offsets[i + 1] || offsets[i + 1] > end) {
        fail("name " + std::to_string(i) + " ends before it begins");
      }
      names.emplace_back(bytes + offsets[i], bytes + offsets[i + 1]);
    }
    return names;
  }

  std::vector<std::string> class_names(int classes) const {
    const std::string text = metadata("class_names");
    if (text.empty()) return {};
    if (text.size() > (std::size_t{1} << 24)) fail("its class_names are too long");
    const auto json = parse_json_if_any(text);
    if (!json.is_array() || json.size() != std::size_t(classes)) {
      fail("class_names isn't a list of " + std::to_string(classes) + " names");
    }
    std::vector<std::string> names;
    for (const auto& name : json) {
      if (!name.is_string()) fail("a class name isn't a string");
      names.push_back(name.get<std::string>());
    }
    return names;
  }

 private:
  static std::string text(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (const std::int64_t extent : shape)
      text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
    return text + "]";
  }

  const SafetensorsFile& file_;
  const std::string& name_;
};

/// The first item with a label past the last class; -1: there is none.
std::int64_t first_past_last_class(const CodeSet& set) {
  if (set.classes % 64 == 0) return -1;
  const auto words = std::size_t(label_words(set.classes));
  for (std::int64_t i = 0; i < set.count(); ++i) {
    if (set.labels[std::size_t(i + 1) * words - 1] >> (set.classes % 64) != 0) return i;
  }
  return -1;
}

CodeSet parse(const SafetensorsFile& file, const std::string& name) {
  const Reader reader(file, name);
  CodeFileHead head = read_code_file_head(file, name);
  const int bits = head.about.codes.bits();
  const std::int64_t n = head.columns.count;
  CodeSet set = std::move(head.about);
  try {
    set.codes = PackedCodes::from_bytes(
        reader.values<std::uint8_t>("codes", "U8", {n, (bits + 7) / 8}), n, bits);
  } catch (const std::invalid_argument& error) {
    reader.fail(error.what());
  }
  set.ids = reader.values<std::int64_t>("ids", "I64", {n});
  if (set.classes > 0) {
    set.labels = reader.values<std::uint64_t>("labels", "I64", {n, label_words(set.classes)});
    if (const std::int64_t item = first_past_last_class(set); item >= 0) {
      reader.fail("item " + std::to_string(item) + " has a class past the last of " +
                  std::to_string(set.classes));
    }
  }
  if (head.columns.names) set.names = reader.names(n);
  if (head.columns.outputs) set.outputs = reader.values<float>("outputs", "F32", {n, bits});
  return set;
}

}  // namespace

std::string CodeSet::name(std::int64_t i) const {
  return names.empty() ? "#" + std::to_string(ids[std::size_t(i)]) : names[std::size_t(i)];
}

void CodeSet::validate() const {
  check_bits(codes.bits());
  const auto n = std::size_t(count());
  HH_REQUIRE(ids.size() == n, counted(n, "code")
                                  << ", but " << counted(ids.size(), "id") << ": give one each");
  HH_REQUIRE(classes >= 0 && classes <= kMaxClasses,
             "classes = " << classes << ": use 0 to " << kMaxClasses);
  HH_REQUIRE(labels.size() == n * std::size_t(label_words(classes)),
             counted(n, "code") << ", but " << counted(labels.size(), "word") << " of labels of "
                                << counted(classes, "class", "classes") << ": give a row each");
  const std::int64_t past = first_past_last_class(*this);
  HH_REQUIRE(past < 0, "labels: item " << past << " has a class past the last of "
                                       << counted(classes, "class", "classes")
                                       << ": bits past the last class must be 0");
  HH_REQUIRE(names.empty() || names.size() == n,
             counted(n, "code") << ", but " << counted(names.size(), "name") << ": give one each");
  HH_REQUIRE(outputs.empty() || outputs.size() == n * std::size_t(codes.bits()),
             counted(n, "code") << " of " << counted(codes.bits(), "bit") << ", but "
                                << counted(outputs.size(), "output") << ": give one for each bit");
  HH_REQUIRE(class_names.empty() || class_names.size() == std::size_t(classes),
             counted(classes, "class", "classes")
                 << ", but " << counted(class_names.size(), "class name") << ": name all or none");
}

std::optional<PartOfList> PartOfList::named(const std::string& text) {
  PartOfList part;
  const char* const end = text.data() + text.size();
  const auto [slash, wrong] = std::from_chars(text.data(), end, part.number);
  if (wrong != std::errc() || slash == end || *slash != '/') return std::nullopt;
  const auto [stop, error] = std::from_chars(slash + 1, end, part.count);
  const bool right = error == std::errc() && stop == end && part.number >= 0 &&
                     part.number < part.count && part.count <= kMaxCount;
  return right ? std::optional(part) : std::nullopt;
}

std::int64_t PartOfList::begin(std::int64_t number, std::int64_t count, std::int64_t lines) {
  // lines * number can overflow.
  return lines / count * number + lines % count * number / count;
}

std::vector<SafetensorsTensor> code_file_tensors(const CodeSet& about,
                                                 const CodeFileColumns& columns) {
  const std::int64_t n = columns.count, bits = about.codes.bits();
  std::vector<SafetensorsTensor> tensors{{"codes", "U8", {n, (bits + 7) / 8}}, {"ids", "I64", {n}}};
  if (about.classes > 0) {
    tensors.push_back({"labels", "I64", {n, label_words(about.classes)}});
  }
  if (columns.names) {
    tensors.push_back({"names", "U8", {columns.name_bytes}});
    tensors.push_back({"name_offsets", "I64", {n + 1}});
  }
  if (columns.outputs) tensors.push_back({"outputs", "F32", {n, bits}});
  return tensors;
}

SafetensorsHead code_file_head(const CodeSet& about, const CodeFileColumns& columns) {
  std::map<std::string, std::string> metadata{{"format", kFormat},
                                              {"version", std::to_string(kCodeFileVersion)},
                                              {"bits", std::to_string(about.codes.bits())},
                                              {"classes", std::to_string(about.classes)},
                                              {"model_hash", about.model_hash},
                                              {"source", about.source}};
  if (about.exif_orientation)
    metadata["exif_orientation"] = *about.exif_orientation ? "true" : "false";
  if (about.scaled_shorter_side > 0)
    metadata["scaled_shorter_side"] = std::to_string(about.scaled_shorter_side);
  if (about.int8_mixed) metadata["int8_mixed"] = "true";
  if (about.decoding_mixed) metadata["decoding_mixed"] = "true";
  if (!about.class_names.empty())
    metadata["class_names"] = json_text(nlohmann::json(about.class_names));
  if (about.part) {
    metadata["part"] = std::to_string(about.part->number) + "/" + std::to_string(about.part->count);
    metadata["base"] = std::to_string(about.part->base);
    metadata["list_lines"] = std::to_string(about.part->list_lines);
    metadata["list_xxh64"] = xxh64_text(about.part->list_xxh64);
    metadata["transform"] = about.part->transform;
    metadata["dtype"] = about.part->dtype;
  }
  return safetensors_head(code_file_tensors(about, columns), metadata);
}

CodeFileHead read_code_file_head(const SafetensorsFile& file, const std::string& name) {
  const Reader reader(file, name);
  const std::string format = reader.metadata("format");
  for (const std::string kind : {"model", "checkpoint"}) {
    if (!format.starts_with("hybridhash " + kind)) continue;
    throw std::runtime_error(name + ": it is a " + kind +
                             ", not a code file: give it as --model, or codes that hybridhash "
                             "encode made by it");
  }
  if (format != kFormat) {
    reader.fail("its format is '" + format + "', not '" + kFormat + "'");
  }
  const int version = reader.number("version", 1, 999'999);
  if (version > kCodeFileVersion) {
    reader.fail("version " + std::to_string(version) + " is newer than this program's " +
                std::to_string(kCodeFileVersion) + "; use a newer hybridhash");
  }
  CodeFileHead head;
  CodeSet& about = head.about;
  about.codes = PackedCodes(0, reader.number("bits", kMinBits, kMaxBits));
  about.classes = reader.number("classes", 0, kMaxClasses);
  if (about.classes > 0) {
    reader.check("labels", "I64", {reader.count(), label_words(about.classes)});
    about.class_names = reader.class_names(about.classes);
  }
  about.model_hash = reader.metadata("model_hash");
  about.source = reader.metadata("source");
  if (!reader.metadata("scaled_shorter_side").empty()) {
    about.scaled_shorter_side = reader.number("scaled_shorter_side", 1, kMostScaledSide);
  }
  const auto said = [&](const char* key) {
    const std::string text = reader.metadata(key);
    if (!text.empty() && text != "true" && text != "false") {
      reader.fail("its " + std::string(key) + " is '" + text + "', not true or false");
    }
    return text;
  };
  if (const std::string turned = said("exif_orientation"); !turned.empty()) {
    about.exif_orientation = turned == "true";
  }
  about.int8_mixed = said("int8_mixed") == "true";
  about.decoding_mixed = said("decoding_mixed") == "true";
  about.part = reader.part();
  head.columns = {
      .count = reader.count(), .names = reader.has("names"), .outputs = reader.has("outputs")};
  if (head.columns.names) head.columns.name_bytes = std::int64_t(file.entry("names").bytes.size());
  return head;
}

void write_code_file(const std::filesystem::path& path, const CodeSet& set) {
  set.validate();
  const auto codes = set.codes.to_bytes();
  std::string blob;
  std::vector<std::int64_t> offsets{0};
  for (const std::string& name : set.names) {
    blob += name;
    offsets.push_back(std::int64_t(blob.size()));
  }
  const CodeFileColumns kinds{.count = set.count(),
                              .name_bytes = std::int64_t(blob.size()),
                              .names = !set.names.empty(),
                              .outputs = !set.outputs.empty()};
  std::vector<std::span<const std::byte>> columns{bytes_of(codes), bytes_of(set.ids)};
  if (set.classes > 0) columns.push_back(bytes_of(set.labels));
  if (kinds.names) {
    columns.push_back(std::as_bytes(std::span(blob)));
    columns.push_back(bytes_of(offsets));
  }
  if (kinds.outputs) columns.push_back(bytes_of(set.outputs));
  const SafetensorsHead head = code_file_head(set, kinds);
  AtomicFile file(path);
  file.write(head.bytes);
  for (const std::size_t i : head.order) file.write(columns[i].data(), columns[i].size());
  file.commit();
}

CodeSet read_code_file(const std::filesystem::path& path) {
  return parse(SafetensorsFile::open(path), path.string());
}

CodeSet parse_code_file(std::span<const std::byte> bytes, const std::string& name) {
  return parse(SafetensorsFile::parse(bytes, name), name);
}

CodeSet read_codes(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    const auto parts = part_files(path);
    if (!parts.empty()) return read_parts(parts);
    const bool index = std::filesystem::exists(path / "manifest.json");
    throw std::runtime_error(
        path.string() + (index ? ": it is an index, not a code file: write its codes to one by "
                                 "hybridhash index export, or give it as --index"
                               : ": it is a folder, not a code file, and holds no parts of one: "
                                 "hybridhash encode makes one of its images"));
  }
  if (path.extension() != ".npy") return read_code_file(path);
  const auto array = read_npy<std::uint8_t>(path);
  std::string shape;
  for (const std::int64_t extent : array.shape) {
    shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
  }
  if (array.shape.size() != 2 || array.shape[1] < 1 || array.shape[1] > kMaxBits / 8) {
    throw std::runtime_error(
        path.string() +
        ": codes must be an array [n, bits/8] with 1 to 64 bytes a row, and it has the shape [" +
        shape + "]: write it as uint8 rows by numpy.save");
  }
  CodeSet set;
  set.codes = PackedCodes::from_bytes(array.values, array.shape[0], int(array.shape[1]) * 8);
  set.ids.resize(std::size_t(array.shape[0]));
  std::iota(set.ids.begin(), set.ids.end(), 0);
  set.source = as_utf8(path.string());
  return set;
}

}  // namespace hh::retrieval
