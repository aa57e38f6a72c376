// SPDX-License-Identifier: Apache-2.0
// libpng reports an error by calling a function that must not return. It is C code, so we leave by
// longjmp; every function below that calls setjmp has no local with a destructor, and what changes
// after setjmp is a member, not a local.
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>

#include "data/images/decode_formats.h"
#include "engine/text/counted.h"

namespace hh::data {
namespace {

constexpr std::uint8_t kMagic[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr std::size_t kAroundChunk = 12;  // its length, type and check sum

std::uint32_t big32(const std::uint8_t* p) {
  return std::uint32_t(p[0]) << 24 | std::uint32_t(p[1]) << 16 | std::uint32_t(p[2]) << 8 | p[3];
}

/// What the first chunk, IHDR, says; libpng checks it later.
struct Header {
  std::int64_t width, height;
  int bit_depth, colour_type;
  explicit Header(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < 26) throw ImageError("PNG: it is truncated");
    width = big32(&bytes[16]);
    height = big32(&bytes[20]);
    bit_depth = bytes[24];
    colour_type = bytes[25];
  }
};

/// Deflate packs 1032 bytes into one at best. What claims to hold more is truncated, and must not
/// get memory.
void check_size(std::span<const std::uint8_t> bytes, const Header& header) {
  constexpr std::int64_t kBestRatio = 1040;
  constexpr int kSamples[] = {1, 0, 3, 1, 2, 0, 4};  // by colour type; 0: there is no such
  const int samples = header.colour_type < 7 ? kSamples[header.colour_type] : 0;
  const std::int64_t row = (header.width * samples * header.bit_depth + 7) / 8 + 1;
  if (row * header.height / kBestRatio > std::int64_t(bytes.size())) {
    throw ImageError("PNG: it is truncated: " + counted(bytes.size(), "byte") + " can't hold " +
                     std::to_string(header.width) + " x " + std::to_string(header.height) +
                     " pixels");
  }
}

/// Checks every chunk, also those that libpng is told to skip, and gives the EXIF orientation.
int check_chunks(std::span<const std::uint8_t> bytes) {
  int orientation = 1;
  for (std::size_t at = sizeof kMagic; bytes.size() - at >= kAroundChunk;) {
    const std::uint8_t* chunk = bytes.data() + at;
    const std::size_t length = big32(chunk);
    if (length > bytes.size() - at - kAroundChunk) break;
    if (crc32(0, chunk + 4, uInt(length + 4)) != big32(chunk + 8 + length)) {
      throw ImageError("PNG: it is damaged: a wrong check sum at byte " + std::to_string(at));
    }
    if (std::memcmp(chunk + 4, "IEND", 4) == 0) return orientation;
    if (std::memcmp(chunk + 4, "eXIf", 4) == 0) {
      // Without the "Exif\0\0" that comes before the TIFF structure in a JPEG.
      orientation = tiff_orientation({chunk + 8, length});
    }
    at += kAroundChunk + length;
  }
  throw ImageError("PNG: it is truncated");
}

class PngReader {
 public:
  explicit PngReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Afterwards channels() is what rows have.
  bool read_header() {
    png_ =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, [](png_structp, const char*) {});
    if (png_ == nullptr) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr || setjmp(escape_) != 0) return false;
    png_set_read_fn(png_, this, read);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ours were checked before
    // Text, colour profiles and the like could inflate to any size, and are of no use here. So is
    // tRNS: alpha is dropped.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    const int type = png_get_color_type(png_, info_);
    if (png_get_bit_depth(png_, info_) == 16) png_set_strip_16(png_);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
    if ((type & PNG_COLOR_MASK_ALPHA) != 0) png_set_strip_alpha(png_);
    // An index past the palette is black, as in libpng's own viewers and Pillow, and no error: the
    // library keeps room for 256 colours, zeros where the file has none.
    png_set_check_for_invalid_index(png_, 0);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  int channels() const { return png_get_channels(png_, info_); }
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }

  bool read_rows(Image& image) {
    if (setjmp(escape_) != 0) return false;
    for (int pass = 0; pass < passes_; ++pass) {
      for (int y = 0; y < image.height; ++y) {
        png_read_row(png_, &image.pixels[std::size_t(y) * image.row_bytes()], nullptr);
      }
    }
    png_read_end(png_, nullptr);
    return true;
  }
  std::string error() const { return std::string("PNG: it is damaged: ") + message_; }

 private:
  [[noreturn]] static void fail(png_structp png, const char* message) {
    auto* const self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(self->message_, message, sizeof self->message_ - 1);
    std::longjmp(self->escape_, 1);
  }
  static void read(png_structp png, png_bytep to, std::size_t count) {
    auto* const self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "its data end too early");
    std::memcpy(to, self->rest_.data(), count);
    self->rest_ = self->rest_.subspan(count);
  }

  std::span<const std::uint8_t> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  std::jmp_buf escape_{};
  char message_[120] = "it can't be read";
};

}  // namespace

bool is_png(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= sizeof kMagic &&
         std::equal(std::begin(kMagic), std::end(kMagic), bytes.begin());
}

Image decode_png(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  const Header header(bytes);
  check_image_size(header.height, header.width, options);
  check_size(bytes, header);
  const int orientation = check_chunks(bytes);
  PngReader reader(bytes);
  if (!reader.read_header()) throw ImageError(reader.error());
  Image image;
  image.reshape(int(header.height), int(header.width), reader.channels());
  if (reader.row_bytes() != image.row_bytes()) throw ImageError(reader.error());
  if (!reader.read_rows(image)) throw ImageError(reader.error());
  if (options.exif_orientation) turn_upright(image, orientation);
  return image;
}

}  // namespace hh::data
