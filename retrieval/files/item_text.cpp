// SPDX-License-Identifier: Apache-2.0
// The formats of item_files.h that are text.
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/files/item_files.h"

namespace hh::retrieval {
namespace {

constexpr const char* kColumns[] = {"id", "code", "hex", "bits", "labels", "path", "metadata"};

std::string path_of(const ItemSet& items, std::int64_t i) {
  return items.set.names.empty() ? "" : items.set.names[std::size_t(i)];
}

std::string metadata_of(const ItemSet& items, std::int64_t i) {
  return items.metadata.empty() ? "" : items.metadata[std::size_t(i)];
}

/// Class numbers of an item, with `between` between them.
std::string labels_of(const ItemSet& items, std::int64_t i, char between) {
  std::string text;
  for (int c = 0; c < items.set.classes; ++c) {
    if (!items.set.label_view().has(i, c)) continue;
    if (!text.empty()) text += between;
    text += std::to_string(c);
  }
  return text;
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

/// COPY's text: what it would take for its own is escaped; nothing is NULL.
std::string copied(const std::string& text) {
  if (text.empty()) return "\\N";
  std::string copied;
  for (const char c : text) {
    switch (c) {
      case '\\':
        copied += "\\\\";
        break;
      case '\t':
        copied += "\\t";
        break;
      case '\n':
        copied += "\\n";
        break;
      case '\r':
        copied += "\\r";
        break;
      default:
        copied += c;
    }
  }
  return copied;
}

/// Fields of CSV, line by line.
class CsvReader {
 public:
  CsvReader(const std::string& text, const std::string& name) : text_(text), name_(name) {
    // As spreadsheets save it: a byte order mark, and where the comma is for decimals a semicolon.
    const auto begins = [&](std::string_view mark) {
      return text_.compare(0, mark.size(), mark) == 0;
    };
    if (begins("\xff\xfe") || begins("\xfe\xff")) fail("it is UTF-16; save it as CSV UTF-8");
    if (begins("\xef\xbb\xbf")) at_ = 3;
    const std::string_view header = std::string_view(text_).substr(at_, text_.find('\n') - at_);
    for (const char separator : {';', '\t'}) {
      if (header.find(',') == header.npos && header.find(separator) != header.npos) {
        separator_ = separator;
      }
    }
    ends_ = std::string{separator_, '\r', '\n'};
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(name_ + ":" + std::to_string(line_) + ": " + what);
  }

  /// The next line that isn't empty; false at the end.
  bool next(std::vector<std::string>& fields) {
    while (at_ < text_.size() && end_of_line()) ++line_;
    fields.clear();
    if (at_ >= text_.size()) return false;
    do fields.push_back(field());
    while (accept(separator_));
    if (at_ < text_.size() && !end_of_line()) fail("a character behind a closing quote");
    return true;
  }
  /// To be called after a line is dealt with, so that errors name it and not the next.
  void count_line() { line_ = following_; }
  std::int64_t line() const { return line_; }

 private:
  bool accept(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool end_of_line() {
    const std::size_t begin = at_;
    accept('\r');
    if (accept('\n') || (at_ == text_.size() && at_ > begin)) {
      ++following_;
      return true;
    }
    at_ = begin;
    return false;
  }
  std::string field() {
    std::string value;
    if (!accept('"')) {
      const std::size_t end = std::min(text_.find_first_of(ends_, at_), text_.size());
      value = text_.substr(at_, end - at_);
      at_ = end;
      return value;
    }
    while (true) {
      if (at_ == text_.size()) fail("a quote isn't closed");
      const char c = text_[at_++];
      if (c == '"' && !accept('"')) return value;
      following_ += c == '\n';
      value += c;
    }
  }

  const std::string& text_;
  const std::string& name_;
  char separator_ = ',';
  std::string ends_;  // of a field that isn't quoted
  std::size_t at_ = 0;
  std::int64_t line_ = 1, following_ = 1;
};

template <class T>
T number(const std::string& text, const CsvReader& reader) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    reader.fail("'" + text + "' isn't a number that can be used");
  }
  return value;
}

/// Whether these codes of a column `code` are written as bits; otherwise they are hexadecimal.
bool are_bits(const std::vector<std::string>& codes, int bits, const std::string& name) {
  const std::size_t width = codes.front().size();
  for (const std::string& code : codes) {
    if (code.size() != width || code.find_first_not_of("01") != std::string::npos) return false;
  }
  const std::size_t digits = 2 * (std::size_t(bits + 7) / 8);
  if (width % 2 != 0) return true;
  if (bits > 0 && width != digits) return width == std::size_t(bits);
  if (bits > 0 && width != std::size_t(bits)) return false;
  throw std::runtime_error(name + ": codes of " + std::to_string(width) +
                           " characters, each 0 or 1, can be " + std::to_string(width) +
                           " bits or " + std::to_string(4 * width) +
                           " in hexadecimal: say which by --code-format bits or hex, or call the "
                           "column bits or hex");
}

PackedCodes parse_column(const std::vector<std::string>& codes, bool as_bits, int bits,
                         const std::vector<std::int64_t>& lines, const std::string& name) {
  PackedCodes all;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    try {
      PackedCodes code = as_bits ? parse_code_bits(codes[i]) : parse_code(codes[i], bits);
      if (i > 0 && code.bits() != all.bits()) {
        throw std::invalid_argument("a code of " + std::to_string(code.bits()) +
                                    " bits, and the first has " + std::to_string(all.bits()) +
                                    "; all of a file have the same");
      }
      all.append(code);
    } catch (const std::invalid_argument& error) {
      throw std::runtime_error(name + ":" + std::to_string(lines[i]) + ": " + error.what());
    }
  }
  return all;
}

std::vector<int> parse_labels(const std::string& text, const CsvReader& reader) {
  std::vector<int> labels;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) {
      labels.push_back(number<int>(text.substr(at, end - at), reader));
      if (labels.back() < 0 || labels.back() >= kMaxClasses) {
        reader.fail("label " + std::to_string(labels.back()) + ", not 0 to " +
                    std::to_string(kMaxClasses - 1));
      }
    }
    at = end + 1;
  }
  return labels;
}

}  // namespace

std::string csv_header() { return "id,code,labels,path,metadata\n"; }

std::string to_csv(const ItemSet& items, std::int64_t begin, std::int64_t end) {
  std::string text;
  for (std::int64_t i = begin; i < end; ++i) {
    text += std::to_string(items.set.ids[std::size_t(i)]) + "," + code_to_hex(items.set.codes, i) +
            "," + labels_of(items, i, ' ') + "," + quoted(path_of(items, i)) + "," +
            quoted(metadata_of(items, i)) + "\n";
  }
  return text;
}

ItemSet parse_csv(const std::string& text, const std::string& name, const CodeText& code_text) {
  CsvReader reader(text, name);
  std::vector<std::string> fields;
  if (!reader.next(fields)) reader.fail("it is empty");
  std::map<std::string, std::size_t> columns;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const bool known =
        std::find(std::begin(kColumns), std::end(kColumns), fields[i]) != std::end(kColumns);
    if (!known || !columns.emplace(fields[i], i).second) {
      reader.fail("column '" + fields[i] + "': there can be one each of id, code (or hex, or " +
                  "bits), labels, path, metadata");
    }
  }
  if (columns.contains("code") + columns.contains("hex") + columns.contains("bits") != 1) {
    reader.fail("one column of codes is needed, called code, hex or bits");
  }
  const char* const code_column = columns.contains("code")  ? "code"
                                  : columns.contains("hex") ? "hex"
                                                            : "bits";
  const bool ours = fields == std::vector<std::string>{"id", "code", "labels", "path", "metadata"};
  const std::size_t width = fields.size();
  reader.count_line();
  const auto of = [&](const char* column) {
    const auto at = columns.find(column);
    return at == columns.end() ? std::string() : fields[at->second];
  };
  ItemSet items;
  CodeSet& set = items.set;
  std::vector<std::vector<int>> labels;
  std::vector<std::string> codes;
  std::vector<std::int64_t> lines;
  while (reader.next(fields)) {
    if (fields.size() != width) {
      reader.fail(std::to_string(fields.size()) + " fields, but the header has " +
                  std::to_string(width));
    }
    codes.push_back(of(code_column));
    lines.push_back(reader.line());
    set.ids.push_back(columns.contains("id") ? number<std::int64_t>(of("id"), reader)
                                             : std::int64_t(set.ids.size()));
    set.names.push_back(of("path"));
    items.metadata.push_back(of("metadata"));
    labels.push_back(parse_labels(of("labels"), reader));
    for (const int c : labels.back()) set.classes = std::max(set.classes, c + 1);
    reader.count_line();
  }
  if (codes.empty()) reader.fail("there are no items");
  const bool hex = code_text.format == CodeFormat::kHex || columns.contains("hex");
  const bool bits = code_text.format == CodeFormat::kBits || columns.contains("bits");
  if (hex && bits)
    reader.fail(std::string("the column is called ") + code_column +
                ", and --code-format says otherwise");
  const bool as_bits = bits || (!hex && !ours && are_bits(codes, code_text.bits, name));
  set.codes = parse_column(codes, as_bits, code_text.bits, lines, name);
  for (const std::vector<int>& of_item : labels) append_labels(set.labels, set.classes, of_item);
  set.source = as_utf8(name);
  return items;
}

std::string to_copy_text(const ItemSet& items, std::int64_t begin, std::int64_t end) {
  std::string text;
  for (std::int64_t i = begin; i < end; ++i) {
    text += std::to_string(items.set.ids[std::size_t(i)]) + "\t" +
            code_to_bits(items.set.codes, i) + "\t" + copied(as_utf8(path_of(items, i))) + "\t{" +
            labels_of(items, i, ',') + "}\t" + copied(metadata_of(items, i)) + "\n";
  }
  return text;
}

std::string to_milvus_rows(const ItemSet& items, std::int64_t begin, std::int64_t end) {
  std::string text;
  const CodesView codes = items.set.codes;
  for (std::int64_t i = begin; i < end; ++i) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(codes.row(i).data());
    nlohmann::ordered_json row{
        {"id", items.set.ids[std::size_t(i)]},
        {"code", std::vector<std::uint8_t>(bytes, bytes + codes.row_bytes())},
        {"path", as_utf8(path_of(items, i))},
        {"labels", nlohmann::json::array()},
        {"metadata", nlohmann::json::object()}};
    for (int c = 0; c < items.set.classes; ++c) {
      if (items.set.label_view().has(i, c)) row["labels"].push_back(c);
    }
    if (const std::string metadata = metadata_of(items, i); !metadata.empty()) {
      row["metadata"] = parse_ordered_json(metadata);
    }
    text += json_text(row) + "\n";
  }
  return text;
}

}  // namespace hh::retrieval
