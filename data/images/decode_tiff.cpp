// SPDX-License-Identifier: Apache-2.0
// The first picture of a TIFF by libtiff's own conversion to RGB, which knows bilevel, grey, palette,
// RGB, CMYK, YCbCr and L*a*b* in strips and tiles.
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "data/images/decode_formats.h"
#include "engine/text/counted.h"

namespace hh::data {
namespace {

/// What libtiff asks for one piece of memory at most: beside a picture that max_pixels allows, its
/// palettes and lists of strips.
constexpr std::int64_t kOtherBytes = std::int64_t{16} << 20;
constexpr int kMaxSamples = 8;  // a pixel: colour, alpha and what else is there

/// The codecs that are read, and how many bytes one byte becomes at best (0: any number). Rare
/// and old ones are left out, since nobody's photos are in them and their code is little tried.
struct Codec {
  std::uint16_t code;
  std::int64_t best_ratio;
};
constexpr Codec kCodecs[] = {
    {COMPRESSION_NONE, 3},  // and not 1: subsampled colours
    {COMPRESSION_PACKBITS, 3 * 64},
    {COMPRESSION_LZW, 2731},  // 4096 bytes by a code of 12 bits
    {COMPRESSION_ADOBE_DEFLATE, 1040},
    {COMPRESSION_DEFLATE, 1040},
    {COMPRESSION_JPEG, 3 * 1024},  // decode_jpeg.cpp
    {COMPRESSION_CCITTRLE, 0},
    {COMPRESSION_CCITTFAX3, 0},
    {COMPRESSION_CCITTFAX4, 0},
    {COMPRESSION_LZMA, 0},
    {COMPRESSION_ZSTD, 0},
    {COMPRESSION_WEBP, 0},
};

/// The bytes as a file that libtiff reads, and its first complaint.
struct Source {
  std::span<const std::uint8_t> bytes;
  std::uint64_t at = 0;
  std::string complaint = {};

  static tmsize_t read(thandle_t self, void* to, tmsize_t count) {
    auto& s = *static_cast<Source*>(self);
    if (count <= 0 || s.at >= s.bytes.size()) return 0;
    const std::size_t n = std::min(std::size_t(count), s.bytes.size() - std::size_t(s.at));
    std::memcpy(to, s.bytes.data() + s.at, n);
    s.at += n;
    return tmsize_t(n);
  }
  static tmsize_t write(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t seek(thandle_t self, toff_t to, int from) {
    auto& s = *static_cast<Source*>(self);
    s.at = to + (from == SEEK_CUR ? s.at : from == SEEK_END ? s.bytes.size() : 0);
    return s.at;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t self) { return static_cast<Source*>(self)->bytes.size(); }
  /// It is there, and only read.
  static int map(thandle_t self, void** base, toff_t* length) {
    auto& s = *static_cast<Source*>(self);
    *base = const_cast<std::uint8_t*>(s.bytes.data());
    *length = s.bytes.size();
    return 1;
  }
  static void unmap(thandle_t, void*, toff_t) {}
  static int complain(TIFF*, void* self, const char*, const char* format, va_list values) {
    auto& s = *static_cast<Source*>(self);
    char text[160] = "";
    std::vsnprintf(text, sizeof text, format, values);
    if (s.complaint.empty()) s.complaint = text;
    return 1;  // and print nothing
  }
  static int ignore(TIFF*, void*, const char*, const char*, va_list) { return 1; }

  [[noreturn]] void fail() const {
    throw ImageError("TIFF: it is damaged" + (complaint.empty() ? "" : ": " + complaint));
  }
};

using TiffFile = std::unique_ptr<TIFF, decltype(&TIFFClose)>;

TiffFile open(Source& source, const DecodeOptions& options) {
  const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> how(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  if (!how) throw ImageError("TIFF: no memory");
  TIFFOpenOptionsSetMaxSingleMemAlloc(how.get(), options.max_pixels * kMaxSamples + kOtherBytes);
  TIFFOpenOptionsSetErrorHandlerExtR(how.get(), Source::complain, &source);
  TIFFOpenOptionsSetWarningHandlerExtR(how.get(), Source::ignore, nullptr);
  // Mapped, or Debian's 4.5.0 refuses tiles that aren't compressed: it compares their bytes with a
  // buffer's.
  TiffFile file(
      TIFFClientOpenExt("", "r", &source, Source::read, Source::write, Source::seek, Source::close,
                        Source::size, Source::map, Source::unmap, how.get()),
      TIFFClose);
  if (!file) source.fail();
  return file;
}

template <class T>
T field(TIFF* tiff, std::uint32_t tag) {
  T value = 0;
  TIFFGetFieldDefaulted(tiff, tag, &value);
  return value;
}

/// Before pixels get memory.
void check(TIFF* tiff, std::size_t file_bytes, const DecodeOptions& options) {
  const auto width = field<std::uint32_t>(tiff, TIFFTAG_IMAGEWIDTH);
  const auto height = field<std::uint32_t>(tiff, TIFFTAG_IMAGELENGTH);
  check_image_size(height, width, options);
  if ((field<std::uint32_t>(tiff, TIFFTAG_SUBFILETYPE) & FILETYPE_REDUCEDIMAGE) != 0) {
    throw ImageError(
        "TIFF: its first picture is a small preview, as in raw camera images: convert it to JPEG "
        "or PNG");
  }
  const auto code = field<std::uint16_t>(tiff, TIFFTAG_COMPRESSION);
  const auto* const codec = std::find_if(std::begin(kCodecs), std::end(kCodecs),
                                         [&](const Codec& known) { return known.code == code; });
  if (codec == std::end(kCodecs)) {
    throw ImageError("TIFF: its compression (" + std::to_string(code) +
                     ") isn't read: write it with LZW or deflate");
  }
  const std::int64_t samples = field<std::uint16_t>(tiff, TIFFTAG_SAMPLESPERPIXEL);
  const std::int64_t bits = field<std::uint16_t>(tiff, TIFFTAG_BITSPERSAMPLE);
  if (samples < 1 || samples > kMaxSamples || bits < 1 || bits > 16) {
    throw ImageError("TIFF: it has " + counted(std::size_t(samples), "sample") + " of " +
                     counted(std::size_t(bits), "bit") + " a pixel; up to " +
                     std::to_string(kMaxSamples) + " of up to 16 are read");
  }
  const std::int64_t needed = std::int64_t{height} * ((width * samples * bits + 7) / 8);
  if (codec->best_ratio > 0 && needed / codec->best_ratio > std::int64_t(file_bytes)) {
    throw ImageError("TIFF: it is truncated: " + counted(file_bytes, "byte") + " can't hold " +
                     std::to_string(width) + " x " + std::to_string(height) + " pixels");
  }
  if (TIFFIsTiled(tiff) != 0) {
    check_image_size(field<std::uint32_t>(tiff, TIFFTAG_TILELENGTH),
                     field<std::uint32_t>(tiff, TIFFTAG_TILEWIDTH), options);
  }
}

/// libtiff would multiply colours by an alpha that they aren't multiplied by; Pillow drops alpha.
/// Called "unspecified" it is left alone.
void drop_alpha(TIFF* tiff) {
  std::uint16_t count = 0, *kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
  if (count == 0) return;
  const std::vector<std::uint16_t> unspecified(count, EXTRASAMPLE_UNSPECIFIED);
  TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, count, unspecified.data());
}

struct Converter : TIFFRGBAImage {
  bool begun = false;
  Converter(TIFF* file, Source& source) : TIFFRGBAImage{} {
    char why[1024] = "";
    begun = TIFFRGBAImageOK(file, why) != 0 && TIFFRGBAImageBegin(this, file, 1, why) != 0;
    if (begun) return;
    if (source.complaint.empty()) source.complaint = why;
    source.fail();
  }
  ~Converter() {
    if (begun) TIFFRGBAImageEnd(this);
  }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;
};

}  // namespace

bool is_tiff(std::span<const std::uint8_t> bytes) {
  for (const char* magic : {"II*\0", "MM\0*", "II+\0", "MM\0+"}) {
    if (bytes.size() >= 8 && std::memcmp(bytes.data(), magic, 4) == 0) return true;
  }
  return false;
}

Image decode_tiff(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  Source source{bytes};
  const TiffFile tiff = open(source, options);
  check(tiff.get(), bytes.size(), options);
  drop_alpha(tiff.get());
  const int orientation = field<std::uint16_t>(tiff.get(), TIFFTAG_ORIENTATION);
  Converter converter(tiff.get(), source);
  // As stored: it would mirror, but not turn.
  converter.orientation = converter.req_orientation = ORIENTATION_TOPLEFT;
  // Of 16 bits the upper byte, as of a PNG's; its own table rounds.
  if (converter.Bitdepth16To8 != nullptr) {
    for (std::size_t v = 0; v < 65536; ++v) converter.Bitdepth16To8[v] = std::uint8_t(v >> 8);
  }
  Image image;
  image.reshape(int(converter.height), int(converter.width), 4);
  // Words whose lowest byte is red; packed in place below. `new` aligns them.
  auto* const words = reinterpret_cast<std::uint32_t*>(image.pixels.data());
  if (TIFFRGBAImageGet(&converter, words, converter.width, converter.height) == 0 ||
      !source.complaint.empty()) {
    source.fail();
  }
  const std::size_t pixels = std::size_t(image.height) * std::size_t(image.width);
  for (std::size_t i = 0; i < pixels; ++i) {
    std::memmove(&image.pixels[3 * i], &image.pixels[4 * i], 3);  // little-endian, as x86-64 is
  }
  image.channels = 3;
  image.pixels.resize(3 * pixels);
  if (options.exif_orientation) turn_upright(image, orientation);
  return image;
}

}  // namespace hh::data
