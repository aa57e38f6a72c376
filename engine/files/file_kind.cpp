// SPDX-License-Identifier: Apache-2.0
// The first bytes of files that people take for images or codes, or that came in their place.
#include "engine/files/file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "engine/text/utf8.h"

namespace hh {
namespace {

/// Others than the IndexBinaryFlat and its IDMap that are read (retrieval/files/faiss_file.h).
/// Source: https://github.com/facebookresearch/faiss, faiss/impl/index_write.cpp.
FileKind kind_of_faiss(std::string_view head) {
  struct Named {
    const char* fourcc;
    const char* name;
  };
  constexpr Named kBinary[] = {{"IBwF", "IndexBinaryIVF"},       {"IBHf", "IndexBinaryHNSW"},
                               {"IBHc", "IndexBinaryHNSWCagra"}, {"IBHh", "IndexBinaryHash"},
                               {"IBHm", "IndexBinaryMultiHash"}, {"IBFf", "IndexBinaryFromFloat"}};
  for (const char* fourcc : {"IBxF", "IBMp", "IBM2"}) {
    if (head.starts_with(fourcc)) {
      return {"a FAISS index of binary codes",
              "hybridhash index build and search take it by --codes"};
    }
  }
  for (const Named& kind : kBinary) {
    if (!head.starts_with(kind.fourcc)) continue;
    return {
        std::string("a FAISS index (") + kind.name + ")",
        "copy its codes to an IndexBinaryFlat (reconstruct_n, add) and write that, or save them "
        "by numpy.save as uint8 [n, bits/8]"};
  }
  for (const char* fourcc :
       {"IxFI", "IxF2", "IxFl", "IxHE", "IxHe", "IxPq", "IxPo", "IxPQ", "IxSQ", "IxMp", "IxM2",
        "IxPT", "IxRF", "IxRQ", "IxLS", "IwFl", "IwFd", "IwPQ", "IwQR", "IwSq", "IwSQ", "IwSh",
        "IvPQ", "IvFl", "IHNf", "IHNp", "IHNs", "IHN2", "IHNc", "INSf", "INSp", "INSs", "ImiQ"}) {
    if (head.starts_with(fourcc)) {
      return {"a FAISS index of real-valued vectors (" + std::string(fourcc) + ")",
              "a search here is over binary codes: encode the images by hybridhash encode, or take "
              "an IndexBinaryFlat"};
    }
  }
  return {};
}

/// Protocol buffers have no mark: the fields ir_version and producer_name, as all exporters begin.
/// Source: https://github.com/onnx/onnx, onnx/onnx.proto, ModelProto.
bool is_onnx(std::string_view head) {
  if (head.size() < 6 || head[0] != 0x08 || head[1] < 1 || head[1] > 31 || head[2] != 0x12) {
    return false;
  }
  const auto length = std::size_t(static_cast<unsigned char>(head[3]));
  const std::string_view producer = head.substr(4, length);
  return !producer.empty() && length < 64 &&
         std::all_of(producer.begin(), producer.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

/// Files of arrays, weights and tables.
FileKind kind_of_data(std::string_view head) {
  const auto at = [&](std::string_view magic) { return head.starts_with(magic); };
  if (at({"PK\3\4", 4})) {
    const bool torch = head.find("data.pkl") != std::string_view::npos;
    if (torch) {
      return {"a file of torch.save (.pth, .pt)",
              "write its tensors by safetensors.torch.save_file"};
    }
    if (head.find(".npy") != std::string_view::npos) {
      return {"an archive of NumPy arrays (.npz)", "write the one array by numpy.save as .npy"};
    }
    return {"a ZIP archive", "unpack it"};
  }
  if (at("\x93NUMPY")) return {"a NumPy array", "", ".npy"};
  // A length below 4 GiB, and a JSON object of that many bytes.
  if (head.size() > 9 && head.substr(4, 5) == std::string_view("\0\0\0\0{", 5) &&
      (head[9] == '"' || head[9] == '}' || head[9] == ' ')) {
    return {"a safetensors file (a model, a checkpoint or a code file)",
            "hybridhash info says which"};
  }
  if (is_onnx(head)) {
    return {
        "an ONNX model",
        "such files are written from models (python -m hybridhash.onnx), and not read: give the "
        "model's .safetensors"};
  }
  if (head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5) {
    return {"a Python pickle (.pkl, or an old .pth)",
            "write arrays by numpy.save, weights by safetensors.torch.save_file"};
  }
  if (at("\x1f\x8b")) return {"a gzip file", "unpack it by gunzip"};
  if (at("\xfd"
         "7zXZ"))
    return {"an xz file", "unpack it by unxz"};
  if (at({"\x28\xb5\x2f\xfd", 4})) return {"a Zstandard file", "unpack it by unzstd"};
  if (at("\x89HDF")) return {"an HDF5 file", "write the array by numpy.save as .npy"};
  if (at("SQLite format 3")) return {"an SQLite database", ""};
  if (at("PAR1")) return {"a Parquet file", "write the codes by numpy.save as .npy, or as .csv"};
  if (at("MATLAB 5.0")) return {"a MATLAB file", "write the array by numpy.save as .npy"};
  if (at("version https://git-lfs")) return {"a pointer of Git LFS", "run git lfs pull"};
  return {};
}

std::string name_of_picture(std::string_view head) {
  const auto at = [&](std::size_t offset, std::string_view magic) {
    return head.substr(std::min(offset, head.size()), magic.size()) == magic;
  };
  if (at(0, "\xff\xd8\xff")) return "a JPEG image";
  if (at(0, "\x89PNG")) return "a PNG image";
  if (at(0, "RIFF") && at(8, "WEBP")) return "a WebP image";
  if (at(0, "GIF87a") || at(0, "GIF89a")) return "a GIF image";
  if (at(0, {"II*\0", 4}) || at(0, {"MM\0*", 4})) return "a TIFF or raw camera image";
  if (at(4, "ftyp")) {
    const std::string_view brand = head.substr(std::min<std::size_t>(8, head.size()), 4);
    if (brand == "avif" || brand == "avis") return "an AVIF image";
    if (brand == "heic" || brand == "heix" || brand == "heim" || brand == "mif1" ||
        brand == "msf1" || brand == "hevc") {
      return "an HEIC image";
    }
    return "a video (MP4)";
  }
  if (at(0, {"\0\0\0\x0cJXL ", 8}) || at(0, "\xff\x0a")) return "a JPEG XL image";
  if (at(0, {"\0\0\0\x0cjP  ", 8}) || at(0, "\xff\x4f\xff\x51")) return "a JPEG 2000 image";
  if (at(0, {"\0\0\1\0", 4})) return "an icon (ICO)";
  if (at(0, "8BPS")) return "a Photoshop image";
  if (at(0, "%PDF")) return "a PDF";
  if (at(0, "P7")) return "a PAM image";
  if (at(0, "Pf") || at(0, "PF")) return "a PFM image";
  std::string text(head);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  const std::size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first == std::string::npos) return "";
  if (text.compare(first, 5, "<?xml") == 0 || text.compare(first, 4, "<svg") == 0) {
    return text.find("<svg") != std::string::npos ? "an SVG image" : "an XML file";
  }
  if (text.compare(first, 9, "<!doctype") == 0 || text.compare(first, 5, "<html") == 0) {
    return "an HTML page";
  }
  return "";
}

/// Without control characters, and in UTF-8 but for the last character, which may be cut.
bool is_text(std::string_view head, bool cut) {
  const auto control = [](unsigned char c) {
    return (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7F;
  };
  if (head.empty() || std::any_of(head.begin(), head.end(), control)) return false;
  for (std::size_t less = 0; less < (cut ? 4U : 1U) && less < head.size(); ++less) {
    if (is_utf8(head.substr(0, head.size() - less))) return true;
  }
  return false;
}

/// The first two lines with something in them that isn't a comment.
std::array<std::string_view, 2> first_lines(std::string_view text) {
  std::array<std::string_view, 2> lines;
  std::size_t found = 0;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  while (!text.empty() && found < lines.size()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos || line[begin] == '#') continue;
    line.remove_prefix(begin);
    lines[found++] = line.substr(0, line.find_last_not_of(" \t\r") + 1);
  }
  return lines;
}

/// A line "[data]" or "key = value".
bool is_toml_line(std::string_view line) {
  constexpr const char* kKey =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.\"";
  if (line.starts_with('[')) {
    const std::size_t first = line.find_first_not_of('[');
    const std::size_t end = std::min(line.find_first_not_of(kKey, first), line.size());
    const std::string_view key = line.substr(std::min(first, line.size()), end - first);
    const bool word = !key.empty() && std::isalpha(static_cast<unsigned char>(key[0])) != 0;
    return word && line.substr(end).starts_with(']') && key != "true" && key != "false" &&
           key != "null";
  }
  const std::size_t equals = line.find(" = ");
  return equals != std::string_view::npos && equals > 0 && line.find_first_not_of(kKey) >= equals;
}

FileKind kind_of_text(std::span<const std::byte> bytes) {
  constexpr std::size_t kEnough = 1024;
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kEnough));
  if (!is_text(head, bytes.size() > kEnough)) return {};
  const auto [first, second] = first_lines(head);
  if (is_toml_line(first)) return {"a TOML file, as recipes are", ""};
  if (head[0] == '{' || head[0] == '[') return {"a JSON file", ""};
  for (const char separator : {',', ';', '\t'}) {
    const auto fields = std::count(first.begin(), first.end(), separator);
    if (fields > 0 && fields == std::count(second.begin(), second.end(), separator)) {
      return {"a CSV file", "", ".csv"};
    }
  }
  return {"text", ""};
}

}  // namespace

FileKind kind_of_file(std::span<const std::byte> bytes) {
  constexpr std::size_t kEnough = 1024;
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kEnough));
  if (FileKind kind = kind_of_data(head); !kind.name.empty()) return kind;
  if (FileKind kind = kind_of_faiss(head); !kind.name.empty()) return kind;
  return {name_of_picture(head), ""};
}

std::string kind_text(std::span<const std::byte> bytes, const std::string& wanted,
                      const std::string& file) {
  FileKind kind = kind_of_file(bytes);
  if (kind.name.empty()) kind = kind_of_text(bytes);
  if (kind.name.empty()) return "";
  if (!kind.ending.empty() && !file.ends_with(kind.ending)) {
    kind.cure = "as codes it is taken where its name ends in " + kind.ending;
  }
  return "it is " + kind.name + ", not " + wanted + (kind.cure.empty() ? "" : ": " + kind.cure);
}

}  // namespace hh
