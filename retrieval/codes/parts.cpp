// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/parts.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& file, const std::string& what) {
  throw std::runtime_error(file.string() + ": " + what);
}

struct Part {
  fs::path file;
  CodeFileHead head;
  const PartOfList& of() const { return *head.about.part; }
};

CodeFileHead head_of(const fs::path& file) {
  return read_code_file_head(SafetensorsFile::open(file), file.string());
}

/// What keeps two files from being parts of one whole; empty: nothing.
std::string difference(const CodeSet& a, const CodeSet& b) {
  const PartOfList &x = *a.part, &y = *b.part;
  if (x.list_xxh64 != y.list_xxh64 || x.list_lines != y.list_lines) return "it is of another list";
  if (a.model_hash != b.model_hash) {
    return "its codes are of another model (" + a.model_hash + ", not " + b.model_hash + ")";
  }
  if (x.count != y.count) {
    return "the list was cut into " + counted(x.count, "part") + ", not " + std::to_string(y.count);
  }
  if (x.transform != y.transform || a.exif_orientation != b.exif_orientation ||
      a.scaled_shorter_side != b.scaled_shorter_side) {
    return "its images were transformed in another way";
  }
  if (x.dtype != y.dtype) return "it was encoded with --dtype " + x.dtype + ", not " + y.dtype;
  if (a.codes.bits() != b.codes.bits()) return "its codes have another number of bits";
  if (a.classes != b.classes || a.class_names != b.class_names) return "it has other classes";
  return "";
}

std::vector<Part> sorted_parts(const std::vector<fs::path>& files) {
  std::vector<Part> parts;
  for (const fs::path& file : files) {
    parts.push_back({file, head_of(file)});
    if (!parts.back().head.about.part) {
      fail(file,
           "it is a whole code file, not a part: parts are made by hybridhash encode --shard");
    }
  }
  if (parts.empty()) throw std::runtime_error("there are no parts to put together");
  const auto by_number = [](const Part& a, const Part& b) { return a.of().number < b.of().number; };
  std::stable_sort(parts.begin(), parts.end(), by_number);
  return parts;
}

/// As part_file_name() makes them: numbers of five to seven digits.
bool is_part_name(std::string_view name) {
  for (const std::string_view word : {"part-", "-of-"}) {
    if (!name.starts_with(word)) return false;
    name.remove_prefix(word.size());
    const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits < 5 || digits > 7) return false;
    name.remove_prefix(digits);
  }
  return name == ".codes";
}

/// Numbers of parts that aren't there, a few of them.
std::string gaps(const std::vector<Part>& parts) {
  const std::int64_t count = parts[0].of().count;
  std::string text;
  constexpr int kShown = 5;
  int shown = 0;
  std::size_t at = 0;
  for (std::int64_t number = 0; number < count && shown <= kShown; ++number) {
    if (at < parts.size() && parts[at].of().number == number) {
      ++at;
    } else if (++shown <= kShown) {
      text += (text.empty() ? "" : ", ") + std::to_string(number);
    }
  }
  return text + (shown > kShown ? ", ..." : "");
}

void check_together(const std::vector<Part>& parts) {
  const Part& first = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const std::string differs = difference(part.head.about, first.head.about);
    if (!differs.empty()) {
      fail(part.file, differs + ", than that of " + first.file.string() +
                          ": put parts of one list and one model together");
    }
    if (part.of().number == parts[i - 1].of().number) {
      fail(part.file, "part " + std::to_string(part.of().number) + " is there twice, also as " +
                          parts[i - 1].file.string() + ": leave one out");
    }
    if (part.head.columns.names != first.head.columns.names ||
        part.head.columns.outputs != first.head.columns.outputs) {
      fail(part.file, "it has names or outputs and " + first.file.string() +
                          " has none, or the other way round: encode all parts with the same "
                          "options");
    }
  }
  const std::int64_t count = first.of().count;
  if (std::int64_t(parts.size()) != count) {
    fail(first.file.parent_path().empty() ? "." : first.file.parent_path(),
         "of " + counted(count, "part") + " there " + (parts.size() == 1 ? "is " : "are ") +
             std::to_string(parts.size()) + "; missing: " + gaps(parts) + ": encode these shards");
  }
}

/// One column of one part, checked against what its head says.
std::span<const std::byte> column(const SafetensorsFile& file, const fs::path& name,
                                  const SafetensorsTensor& wanted) {
  const auto& entry = file.entry(wanted.name);
  if (entry.dtype != wanted.dtype || entry.shape != wanted.shape) {
    fail(name, "not a usable code file: " + wanted.name +
                   " isn't what its other columns need: "
                   "encode this shard again");
  }
  return entry.bytes;
}

/// Calls `use` with the column of every part, in order; the memory of one piece at a time.
template <class Use>
void each_piece(const std::vector<Part>& parts, const std::string& tensor, Use use) {
  constexpr std::size_t kPiece = std::size_t{1} << 22;  // whole rows of 8-byte words
  for (const Part& part : parts) {
    const SafetensorsFile file = SafetensorsFile::open(part.file);
    for (const SafetensorsTensor& wanted : code_file_tensors(part.head.about, part.head.columns)) {
      if (wanted.name != tensor) continue;
      auto rest = column(file, part.file, wanted);
      while (!rest.empty()) {
        const auto piece = rest.first(std::min(rest.size(), kPiece));
        use(part, piece);
        MappedFile::release(piece);
        rest = rest.subspan(piece.size());
      }
    }
  }
}

std::vector<std::int64_t> numbers(std::span<const std::byte> bytes) {
  std::vector<std::int64_t> values(bytes.size() / sizeof(std::int64_t));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(std::int64_t));
  return values;
}

bool any_label(const std::vector<Part>& parts) {
  bool any = false;
  each_piece(parts, "labels", [&](const Part&, std::span<const std::byte> piece) {
    any = any || std::any_of(piece.begin(), piece.end(), [](auto b) { return b != std::byte{0}; });
  });
  return any;
}

void write_ids(const std::vector<Part>& parts, AtomicFile& out) {
  std::int64_t last = -1;
  each_piece(parts, "ids", [&](const Part& part, std::span<const std::byte> piece) {
    for (const std::int64_t id : numbers(piece)) {
      if (id <= last || id < part.of().base || id >= part.of().end()) {
        fail(part.file,
             "its ids aren't those of its images, in their order: encode this shard again");
      }
      last = id;
    }
    out.write(piece.data(), piece.size());
  });
}

/// Each part's offsets begin at 0; in the whole they go on.
void write_offsets(const std::vector<Part>& parts, AtomicFile& out) {
  constexpr std::int64_t kZero = 0;
  out.write(&kZero, sizeof kZero);
  std::int64_t before = 0, last = 0;
  const Part* at = nullptr;
  const auto end_part = [&] {
    if (at == nullptr) return;
    if (last != at->head.columns.name_bytes) {
      fail(at->file, "its names end elsewhere than its offsets say: encode this shard again");
    }
    before += last;
  };
  each_piece(parts, "name_offsets", [&](const Part& part, std::span<const std::byte> piece) {
    std::vector<std::int64_t> offsets = numbers(piece);
    std::size_t first = 0;
    if (&part != at) {
      end_part();
      at = &part;
      last = 0;
      if (offsets[0] != 0) fail(part.file, "its names begin elsewhere: encode this shard again");
      first = 1;
    }
    for (std::size_t i = first; i < offsets.size(); ++i) {
      if (offsets[i] < last || offsets[i] > part.head.columns.name_bytes) {
        fail(part.file, "a name ends before it begins: encode this shard again");
      }
      last = offsets[i];
      offsets[i] += before;
    }
    out.write(offsets.data() + first, (offsets.size() - first) * sizeof(std::int64_t));
  });
  end_part();
}

/// What the whole is: the first part's words, without its place.
void sum_up(const std::vector<Part>& parts, CodeSet& about, CodeFileColumns& columns) {
  about = parts[0].head.about;
  about.part.reset();
  columns = parts[0].head.columns;
  columns.count = columns.name_bytes = 0;
  for (const Part& part : parts) {
    columns.count += part.head.columns.count;
    columns.name_bytes += part.head.columns.name_bytes;
  }
  if (columns.count == 0) fail(parts[0].file, "not one of the parts holds a code");
  if (!any_label(parts)) {
    about.classes = 0;
    about.class_names.clear();
  }
}

}  // namespace

std::string part_file_name(const PartOfList& part) {
  const auto digits = [](std::int64_t number) {
    const std::string text = std::to_string(number);
    constexpr std::size_t kWidth = 5;
    return std::string(kWidth - std::min(kWidth, text.size()), '0') + text;
  };
  return "part-" + digits(part.number) + "-of-" + digits(part.count) + ".codes";
}

std::vector<fs::path> part_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_part_name(entry.path().filename().string())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string other_part(const fs::path& path, const CodeSet& wanted, bool outputs) {
  const CodeFileHead head = head_of(path);
  if (!head.about.part) return "it is no part of a list";
  const std::string differs = difference(head.about, wanted);
  if (!differs.empty()) return differs;
  if (head.about.part->number != wanted.part->number) return "it is another part of the list";
  if (head.columns.outputs != outputs) {
    return outputs ? "it holds no outputs (--outputs)" : "it holds outputs (--outputs)";
  }
  return "";
}

std::int64_t merge_parts(const std::vector<fs::path>& files, const fs::path& out) {
  const std::vector<Part> parts = sorted_parts(files);
  check_together(parts);
  CodeSet about;
  CodeFileColumns columns;
  sum_up(parts, about, columns);
  const SafetensorsHead head = code_file_head(about, columns);
  const std::vector<SafetensorsTensor> tensors = code_file_tensors(about, columns);
  AtomicFile file(out);
  file.write(head.bytes);
  for (const std::size_t i : head.order) {
    const std::string& tensor = tensors[i].name;
    if (tensor == "ids") {
      write_ids(parts, file);
    } else if (tensor == "name_offsets") {
      write_offsets(parts, file);
    } else {
      each_piece(parts, tensor, [&](const Part&, std::span<const std::byte> piece) {
        file.write(piece.data(), piece.size());
      });
    }
  }
  file.commit();
  return columns.count;
}

CodeSet read_parts(const std::vector<fs::path>& files) {
  const std::vector<Part> parts = sorted_parts(files);
  check_together(parts);
  CodeSet whole;
  CodeFileColumns columns;
  sum_up(parts, whole, columns);
  for (const Part& part : parts) {
    CodeSet set = read_code_file(part.file);
    whole.codes.append(set.codes);
    whole.ids.insert(whole.ids.end(), set.ids.begin(), set.ids.end());
    if (whole.classes > 0) {
      whole.labels.insert(whole.labels.end(), set.labels.begin(), set.labels.end());
    }
    std::move(set.names.begin(), set.names.end(), std::back_inserter(whole.names));
    whole.outputs.insert(whole.outputs.end(), set.outputs.begin(), set.outputs.end());
  }
  return whole;
}

}  // namespace hh::retrieval
