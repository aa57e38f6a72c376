// SPDX-License-Identifier: Apache-2.0
// The first bytes of files that people take for images, or that came in an image's place.
#include <algorithm>
#include <cctype>
#include <string_view>

#include "data/images/decode_formats.h"

namespace hh::data {

std::string kind_of_file(std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kEnough = 1024;
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kEnough));
  const auto at = [&](std::size_t offset, std::string_view magic) {
    return head.substr(std::min(offset, head.size()), magic.size()) == magic;
  };
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
  if (at(0, {"PK\3\4", 4})) return "a ZIP archive";
  if (at(0, "\x1f\x8b")) return "a gzip file";
  if (at(0, "P7")) return "a PAM image";
  if (at(0, "Pf") || at(0, "PF")) return "a PFM image";
  if (at(0, "version https://git-lfs")) return "a pointer of Git LFS (run git lfs pull)";
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

}  // namespace hh::data
