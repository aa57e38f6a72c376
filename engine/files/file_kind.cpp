// SPDX-License-Identifier: Apache-2.0
// The first bytes of files that people take for images or codes, or that came in their place.
#include "engine/files/file_kind.h"

#include <algorithm>
#include <cctype>
#include <string_view>

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
  if (at("\x93NUMPY")) return {"a NumPy array", "give it a name that ends in .npy"};
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

/// By the first bytes: a bracket, and text.
bool is_json(std::span<const std::byte> bytes) {
  constexpr std::size_t kEnough = 1024;
  const auto head = bytes.first(std::min(bytes.size(), kEnough));
  if (head.empty() || (head[0] != std::byte('{') && head[0] != std::byte('['))) return false;
  return std::none_of(head.begin(), head.end(), [](std::byte b) {
    const int c = std::to_integer<int>(b);
    return (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7F;
  });
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

std::string kind_text(std::span<const std::byte> bytes, const std::string& wanted) {
  FileKind kind = kind_of_file(bytes);
  if (kind.name.empty() && is_json(bytes)) kind.name = "a JSON file";
  if (kind.name.empty()) return "";
  return "it is " + kind.name + ", not " + wanted + (kind.cure.empty() ? "" : ": " + kind.cure);
}

}  // namespace hh
