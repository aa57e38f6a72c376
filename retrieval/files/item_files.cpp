// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/item_files.h"

#include <algorithm>
#include <stdexcept>

#include "engine/files/file.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/files/faiss_file.h"
#include "retrieval/files/npy.h"

namespace hh::retrieval {
namespace {

constexpr std::size_t kMaxText = std::size_t{1} << 32;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

using Writer = std::string (*)(const ItemSet&, std::int64_t, std::int64_t);

void write_text(const std::filesystem::path& path, const std::string& header, const ItemSet& items,
                Writer writer) {
  AtomicFile file(path);
  file.write(header);
  constexpr std::int64_t kAtOnce = 4096;
  for (std::int64_t i = 0; i < items.set.count(); i += kAtOnce) {
    file.write(writer(items, i, std::min(i + kAtOnce, items.set.count())));
  }
  file.commit();
}

/// Codes of whole bytes as codes of so many bits; those of any other number of bytes as they are.
void set_length(CodeSet& set, int bits, const std::string& name) {
  const int whole = set.codes.bits();
  if (bits <= 0 || bits >= whole || whole != (bits + 7) / 8 * 8) return;
  try {
    set.codes = PackedCodes::from_bytes(set.codes.to_bytes(), set.count(), bits);
  } catch (const std::invalid_argument&) {
    throw std::runtime_error(name + ": its codes have " + std::to_string(whole) +
                             " bits, and some behind the first " + std::to_string(bits) +
                             " are set: they are no codes of " + std::to_string(bits) +
                             " bits; encode with the same model");
  }
}

}  // namespace

CodeFormat code_format_named(const std::string& name) {
  if (name == "auto") return CodeFormat::kAuto;
  if (name == "hex") return CodeFormat::kHex;
  HH_REQUIRE(name == "bits", "code format '" << name << "': use auto, hex or bits");
  return CodeFormat::kBits;
}

ItemSet read_items(const std::filesystem::path& path, const CodeText& code_text) {
  ItemSet items;
  if (std::filesystem::is_directory(path)) {
    items.set = read_codes(path);  // says what it is
    return items;
  }
  if (path.extension() == ".csv") {
    const auto bytes = read_file(path, kMaxText);
    return parse_csv({bytes.begin(), bytes.end()}, path.string(), code_text);
  }
  if (path.extension() != ".npy") {
    const MappedFile file(path);
    if (is_faiss_file(file.bytes())) {
      FaissCodes faiss = parse_faiss_file(file.bytes(), path.string());
      items.set.codes = std::move(faiss.codes);
      items.set.ids = std::move(faiss.ids);
      items.set.source = as_utf8(path.string());
      set_length(items.set, code_text.bits, path.string());
      return items;
    }
  }
  items.set = read_codes(path);
  if (path.extension() == ".npy") set_length(items.set, code_text.bits, path.string());
  return items;
}

ItemFormat item_format(const std::string& name, const std::filesystem::path& path) {
  struct Named {
    const char* name;
    const char* ending;
    ItemFormat format;
  };
  constexpr Named kAll[] = {
      {"codes", ".codes", ItemFormat::kCodes},      {"npy", ".npy", ItemFormat::kNpy},
      {"faiss", ".faiss", ItemFormat::kFaiss},      {"csv", ".csv", ItemFormat::kCsv},
      {"pgvector", ".copy", ItemFormat::kPgvector}, {"milvus", ".jsonl", ItemFormat::kMilvus}};
  for (const Named& format : kAll) {
    if (name.empty() ? path.extension() == format.ending : name == format.name) {
      return format.format;
    }
  }
  HH_REQUIRE(name.empty(), "format '" << name << "': use " << kItemFormats);
  return ItemFormat::kCodes;
}

void write_items(const std::filesystem::path& path, const ItemSet& items, ItemFormat format) {
  items.validate();
  const CodeSet& set = items.set;
  switch (format) {
    case ItemFormat::kCodes:
      return write_code_file(path, set);
    case ItemFormat::kNpy: {
      const std::int64_t shape[] = {set.count(), set.codes.view().row_bytes()};
      return write_npy<std::uint8_t>(path, shape, set.codes.to_bytes());
    }
    case ItemFormat::kFaiss:
      return write_faiss_file(path, set.codes, set.ids);
    case ItemFormat::kCsv:
      return write_text(path, csv_header(), items, to_csv);
    case ItemFormat::kPgvector:
      return write_text(path, "", items, to_copy_text);
    case ItemFormat::kMilvus:
      return write_text(path, "", items, to_milvus_rows);
  }
}

std::string code_to_hex(CodesView codes, std::int64_t row) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(codes.row(row).data());
  std::string text;
  for (int i = 0; i < codes.row_bytes(); ++i) {
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}

std::string code_to_bits(CodesView codes, std::int64_t row) {
  std::string text(std::size_t(codes.bits), '0');
  for (int j = 0; j < codes.bits; ++j) text[std::size_t(j)] = codes.bit(row, j) ? '1' : '0';
  return text;
}

PackedCodes parse_code_bits(const std::string& text) {
  HH_REQUIRE(!text.empty() && text.size() <= std::size_t(kMaxBits),
             "code '" << text << "': " << text.size() << " characters; codes have 1 to " << kMaxBits
                      << " bits");
  PackedCodes codes(1, int(text.size()));
  for (std::size_t j = 0; j < text.size(); ++j) {
    HH_REQUIRE(text[j] == '0' || text[j] == '1',
               "code '" << text << "': '" << text[j] << "' isn't a bit; use 0 and 1");
    codes.set(0, int(j), text[j] == '1');
  }
  return codes;
}

PackedCodes parse_code(const std::string& text, int bits) {
  // Two characters for two bits are hexadecimal: that is how codes are written.
  if (bits > 0 && bits != 2 && text.size() == std::size_t(bits)) return parse_code_bits(text);
  const std::size_t bytes = text.size() / 2;
  const int row_bytes = (bits + 7) / 8;
  HH_REQUIRE(text.size() % 2 == 0 && (bits == 0 || bytes == std::size_t(row_bytes)),
             "code '" << text << "': " << text.size() << " characters are neither the "
                      << 2 * row_bytes << " hexadecimal digits nor the " << bits
                      << " bits of a code");
  HH_REQUIRE(bytes >= 1 && bytes <= kMaxBits / 8,
             "code '" << text << "': codes have 2 to 128 hexadecimal digits");
  std::vector<std::uint8_t> values(bytes);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int digit = hex_digit(text[i]);
    HH_REQUIRE(digit >= 0, "code '" << text << "': '" << text[i] << "' isn't a hexadecimal digit");
    values[i / 2] = std::uint8_t(values[i / 2] << 4 | digit);
  }
  return PackedCodes::from_bytes(values, 1, bits > 0 ? bits : int(bytes) * 8);
}

}  // namespace hh::retrieval
