// SPDX-License-Identifier: Apache-2.0
#include "engine/files/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>

#include "engine/files/file_kind.h"
#include "engine/text/counted.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"

namespace hh {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr std::size_t kAlignment = 64;

struct ElementType {
  const char* name;
  std::size_t bytes;
};
constexpr std::array<ElementType, 13> kElementTypes{{{"F64", 8},
                                                     {"F32", 4},
                                                     {"F16", 2},
                                                     {"BF16", 2},
                                                     {"I64", 8},
                                                     {"I32", 4},
                                                     {"I16", 2},
                                                     {"I8", 1},
                                                     {"U64", 8},
                                                     {"U32", 4},
                                                     {"U16", 2},
                                                     {"U8", 1},
                                                     {"BOOL", 1}}};

[[noreturn]] void fail(const std::string& file, const std::string& what) {
  throw std::runtime_error(file + ": not a valid safetensors file: " + what +
                           ": copy or write it again");
}

/// Bytes of one element; 0 for a type that we don't know.
std::size_t element_bytes(const std::string& dtype) {
  for (const ElementType& type : kElementTypes) {
    if (dtype == type.name) return type.bytes;
  }
  return 0;
}

std::uint64_t read_u64(std::span<const std::byte> bytes) {
  std::uint64_t v = 0;
  for (int i = 7; i >= 0; --i) v = v << 8 | std::uint64_t(bytes[std::size_t(i)]);
  return v;
}

/// A tensor of the header, its range checked against the `data` behind the header.
SafetensorsFile::Entry read_entry(const nlohmann::json& json, std::span<const std::byte> data,
                                  const std::string& file, const std::string& tensor) {
  if (!json.is_object()) fail(file, tensor + ": its entry isn't an object");
  SafetensorsFile::Entry entry;
  entry.dtype = json.at("dtype").get<std::string>();
  std::uint64_t bytes = element_bytes(entry.dtype);
  if (bytes == 0) fail(file, tensor + ": unknown type '" + entry.dtype + "'");
  if (!json.at("shape").is_array()) fail(file, tensor + ": its shape isn't a list");
  bool empty = false;
  for (const auto& extent : json.at("shape")) {
    if (!extent.is_number_unsigned()) fail(file, tensor + ": an extent isn't a whole number >= 0");
    const auto n = extent.get<std::uint64_t>();
    // Also guards against a product that wraps when a later extent is 0.
    if (n > std::uint64_t(std::numeric_limits<std::int64_t>::max()) ||
        (n != 0 && bytes > std::numeric_limits<std::int64_t>::max() / n)) {
      fail(file, tensor + ": its shape is too large");
    }
    empty = empty || n == 0;
    if (n != 0) bytes *= n;
    entry.shape.push_back(std::int64_t(n));
  }
  if (empty) bytes = 0;
  const auto& offsets = json.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    fail(file, tensor + ": data_offsets isn't a pair of whole numbers");
  }
  const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
  if (begin > end || end > data.size()) {
    fail(file, tensor + ": bytes " + std::to_string(begin) + " to " + std::to_string(end) + " of " +
                   std::to_string(data.size()));
  }
  if (end - begin != bytes) {
    fail(file, tensor + ": " + std::to_string(end - begin) + " bytes, but its shape takes " +
                   std::to_string(bytes));
  }
  entry.bytes = data.subspan(begin, bytes);
  return entry;
}

/// Ranges must lie side by side and cover the data, as the format demands.
void check_layout(const std::map<std::string, SafetensorsFile::Entry>& entries,
                  std::span<const std::byte> data, const std::string& file) {
  std::vector<const std::pair<const std::string, SafetensorsFile::Entry>*> sorted;
  for (const auto& named : entries) sorted.push_back(&named);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.bytes.data(), a->second.bytes.size()) <
           std::pair(b->second.bytes.data(), b->second.bytes.size());
  });
  const std::byte* end = data.data();
  for (const auto* named : sorted) {
    if (named->second.bytes.data() < end) fail(file, named->first + " overlaps another tensor");
    if (named->second.bytes.data() > end) fail(file, "there is a gap before " + named->first);
    end += named->second.bytes.size();
  }
  if (end != data.data() + data.size()) fail(file, "there are bytes behind the last tensor");
}

template <class Stored, class To>
void convert(std::span<const std::byte> bytes, std::vector<To>& to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    Stored v;
    std::memcpy(&v, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    if constexpr (std::is_same_v<Stored, bf16> || std::is_same_v<Stored, f16>) {
      to[i] = To(to_float(v));
    } else {
      to[i] = To(v);  // NOLINT(bugprone-signed-char-misuse): an I8 is a number with a sign
    }
  }
}

template <class To>
bool convert_integers(const SafetensorsFile::Entry& entry, std::vector<To>& to) {
  const std::string& type = entry.dtype;
  if (type == "I64") return convert<std::int64_t>(entry.bytes, to), true;
  if (type == "I32") return convert<std::int32_t>(entry.bytes, to), true;
  if (type == "I16") return convert<std::int16_t>(entry.bytes, to), true;
  if (type == "I8") return convert<std::int8_t>(entry.bytes, to), true;
  if (type == "U64") return convert<std::uint64_t>(entry.bytes, to), true;
  if (type == "U32") return convert<std::uint32_t>(entry.bytes, to), true;
  if (type == "U16") return convert<std::uint16_t>(entry.bytes, to), true;
  if (type == "U8" || type == "BOOL") return convert<std::uint8_t>(entry.bytes, to), true;
  return false;
}

template <class To>
std::vector<To> to_reals(const SafetensorsFile::Entry& entry) {
  std::vector<To> to(std::size_t(entry.count()));
  if (convert_integers(entry, to)) return to;
  if (entry.dtype == "F64") convert<double>(entry.bytes, to);
  if (entry.dtype == "F32") convert<float>(entry.bytes, to);
  if (entry.dtype == "F16") convert<f16>(entry.bytes, to);
  if (entry.dtype == "BF16") convert<bf16>(entry.bytes, to);
  return to;
}

}  // namespace

std::int64_t SafetensorsFile::Entry::count() const {
  return std::int64_t(bytes.size() / element_bytes(dtype));
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  MappedFile file(path);
  SafetensorsFile parsed = parse(file.bytes(), path.string());
  parsed.file_ = std::move(file);
  return parsed;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  // The length of a header can look like anything; what follows it can't.
  if (bytes.size() <= 8 || bytes[8] != std::byte('{')) {
    const std::string kind =
        kind_text(bytes, "a safetensors file (as models and code files are)", name);
    if (!kind.empty()) {
      const bool cured = kind.find(": ") != std::string::npos;
      throw std::runtime_error(name + ": " + kind +
                               (cured ? "" : ": give what hybridhash train or encode wrote"));
    }
  }
  if (bytes.size() < 8) fail(name, "it has only " + counted(bytes.size(), "byte"));
  const std::uint64_t header = read_u64(bytes);
  if (header > kMaxHeader || header > bytes.size() - 8) {
    fail(name, "its header should have " + std::to_string(header) + " bytes, of " +
                   std::to_string(bytes.size() - 8) + " behind its length");
  }
  const auto data = bytes.subspan(8 + header);
  SafetensorsFile file;
  file.name_ = name;
  try {
    const char* text = reinterpret_cast<const char*>(bytes.data()) + 8;
    // Nesting is bounded before the recursive parser of the JSON library sees it.
    int depth = 0;
    for (const char* c = text; c != text + header; ++c) {
      depth += *c == '{' || *c == '[' ? 1 : *c == '}' || *c == ']' ? -1 : 0;
      if (depth > 64) fail(name, "its header is nested too deeply");
    }
    const auto json = parse_json({text, std::size_t(header)});
    if (!json.is_object()) fail(name, "its header isn't a JSON object");
    for (const auto& [key, value] : json.items()) {
      if (key == "__metadata__") {
        if (!value.is_null()) value.get_to(file.metadata_);  // the reference library takes null
      } else {
        file.entries_.emplace(key, read_entry(value, data, name, key));
      }
    }
  } catch (const nlohmann::json::exception& error) {
    fail(name, std::string("its header: ") + json_error_text(error));
  }
  check_layout(file.entries_, data, name);
  return file;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end())
    throw std::runtime_error(name_ + ": it has no tensor '" + name +
                             "': it is a file of another kind (hybridhash "
                             "info says which)");
  return it->second;
}

std::vector<float> SafetensorsFile::to_floats(const std::string& name) const {
  return to_reals<float>(entry(name));
}

std::vector<double> SafetensorsFile::to_doubles(const std::string& name) const {
  return to_reals<double>(entry(name));
}

std::vector<std::int64_t> SafetensorsFile::to_int64s(const std::string& name) const {
  const Entry& from = entry(name);
  std::vector<std::int64_t> to(std::size_t(from.count()));
  if (!convert_integers(from, to)) {
    throw std::runtime_error(name_ + ": " + name + " is " + from.dtype + ", not whole numbers");
  }
  return to;
}

SafetensorsHead safetensors_head(const std::vector<SafetensorsTensor>& tensors,
                                 const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  SafetensorsHead head;
  head.order.resize(tensors.size());
  std::iota(head.order.begin(), head.order.end(), std::size_t{0});
  std::stable_sort(head.order.begin(), head.order.end(), [&](std::size_t a, std::size_t b) {
    return element_bytes(tensors[a].dtype) > element_bytes(tensors[b].dtype);
  });
  std::size_t offset = 0;
  for (const std::size_t i : head.order) {
    const SafetensorsTensor& tensor = tensors[i];
    std::size_t bytes = element_bytes(tensor.dtype);
    assert(bytes != 0 && !header.contains(tensor.name));
    for (const std::int64_t extent : tensor.shape) bytes *= std::size_t(extent);
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = json_text(header);
  text.resize((8 + text.size() + kAlignment - 1) / kAlignment * kAlignment - 8, ' ');
  for (std::size_t i = 0; i < 8; ++i) head.bytes += char(text.size() >> (8 * i) & 0xff);
  head.bytes += text;
  return head;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsItem>& items,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsTensor> tensors;
  for (const SafetensorsItem& item : items) {
    tensors.push_back({item.name, item.dtype, item.shape});
  }
  const SafetensorsHead head = safetensors_head(tensors, metadata);
  AtomicFile file(path);
  file.write(head.bytes);
  for (const std::size_t i : head.order) file.write(items[i].bytes.data(), items[i].bytes.size());
  file.commit();
}

std::string safetensors_dtype(DType dtype) {
  std::string text(name(dtype));
  for (char& c : text) c = char(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace hh
