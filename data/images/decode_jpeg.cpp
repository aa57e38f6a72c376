// SPDX-License-Identifier: Apache-2.0
// libjpeg reports an error by calling error_exit, which must not return. It is C code, so we leave
// by longjmp; every function below that calls setjmp has no local with a destructor, and what
// changes after setjmp is a member, not a local.
// jpeglib.h needs stdio.h before it, jerror.h needs jpeglib.h.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <algorithm>
#include <csetjmp>
#include <string>

#include "data/images/decode_formats.h"
#include "engine/text/counted.h"

namespace hh::data {
namespace {

// A progressive file has about 10 scans. Each costs a pass over the whole image, and a few bytes
// are enough to declare one, so a small hostile file could keep us busy for hours.
constexpr int kMaxScans = 100;
constexpr std::int64_t kMaxScannedPixels = std::int64_t{1} << 30;  // 16 scans of 64 million pixels

// Huffman codes have a bit at least, and each 8 x 8 block has one code at least (DC): 512 pixels.
// Twice that is let through; beyond it, pixels would get memory that no data can fill.
constexpr std::int64_t kMaxPixelsPerByte = 1024;

class JpegReader {
 public:
  JpegReader() {
    cinfo_.err = jpeg_std_error(&errors_);
    errors_.error_exit = [](j_common_ptr c) { leave(c); };
    errors_.emit_message = [](j_common_ptr c, int level) {
      // Level -1: corrupt data that libjpeg can work around, as PIL lets it. But past the end of
      // the data it makes up the rest of the picture.
      if (level < 0 && c->err->msg_code == JWRN_JPEG_EOF) leave(c);
    };
    errors_.output_message = [](j_common_ptr) {};
    progress_.progress_monitor = [](j_common_ptr c) {
      const auto d = reinterpret_cast<j_decompress_ptr>(c);
      const std::int64_t scans = d->input_scan_number;
      if (scans > kMaxScans || scans * d->image_width * d->image_height > kMaxScannedPixels) {
        self(c).too_many_scans_ = true;
        std::longjmp(self(c).escape_, 1);
      }
    };
    cinfo_.client_data = this;
  }
  ~JpegReader() {
    if (created_) jpeg_destroy_decompress(&cinfo_);
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool read_header(std::span<const std::uint8_t> bytes) {
    if (setjmp(escape_) != 0) return false;
    jpeg_create_decompress(&cinfo_);
    created_ = true;
    cinfo_.client_data = this;  // create cleared it
    cinfo_.progress = &progress_;
    jpeg_mem_src(&cinfo_, bytes.data(), static_cast<unsigned long>(bytes.size()));
    jpeg_save_markers(&cinfo_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&cinfo_, TRUE);
    return true;
  }

  bool start(int denominator) {
    if (setjmp(escape_) != 0) return false;
    cinfo_.scale_num = 1;
    cinfo_.scale_denom = static_cast<unsigned>(denominator);
    if (cinfo_.jpeg_color_space == JCS_GRAYSCALE) {
      cinfo_.out_color_space = JCS_GRAYSCALE;
    } else if (cinfo_.num_components == 4) {
      cinfo_.out_color_space = JCS_CMYK;
    } else {
      cinfo_.out_color_space = JCS_RGB;
    }
    jpeg_start_decompress(&cinfo_);
    return true;
  }

  /// `pixels` has room for output_height rows of output_width * output_components bytes.
  bool read_rows(std::uint8_t* pixels) {
    if (setjmp(escape_) != 0) return false;
    while (cinfo_.output_scanline < cinfo_.output_height) {
      JSAMPROW row = pixels + std::size_t(cinfo_.output_scanline) * cinfo_.output_width *
                                  std::size_t(cinfo_.output_components);
      jpeg_read_scanlines(&cinfo_, &row, 1);
    }
    return true;
  }

  std::string error() const {
    if (too_many_scans_) {
      return "it has too many scans for its size: damaged or hostile";
    }
    return std::string("JPEG: ") + message_;
  }

  const jpeg_decompress_struct& info() const { return cinfo_; }

  int orientation() const {
    for (const jpeg_marker_struct* m = cinfo_.marker_list; m != nullptr; m = m->next) {
      const int found = exif_orientation({m->data, m->data_length});
      if (found != 1) return found;
    }
    return 1;
  }

 private:
  static JpegReader& self(j_common_ptr c) { return *static_cast<JpegReader*>(c->client_data); }
  [[noreturn]] static void leave(j_common_ptr c) {
    (*c->err->format_message)(c, self(c).message_);
    std::longjmp(self(c).escape_, 1);
  }

  jpeg_decompress_struct cinfo_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf escape_;
  char message_[JMSG_LENGTH_MAX] = "";
  bool created_ = false;
  bool too_many_scans_ = false;
};

/// PIL's conversion of a CMYK JPEG: the samples are taken as inverted (as Adobe writes them).
void cmyk_to_rgb(Image& image) {
  const std::size_t pixels = std::size_t(image.height) * std::size_t(image.width);
  std::uint8_t* p = image.pixels.data();
  for (std::size_t i = 0; i < pixels; ++i) {
    const int key = p[4 * i + 3];  // 255 - K
    int rgb[3];
    for (int c = 0; c < 3; ++c) {
      const int t = (255 - p[4 * i + std::size_t(c)]) * key + 128;
      rgb[c] = key - ((t + (t >> 8)) >> 8);
    }
    for (int c = 0; c < 3; ++c)
      p[3 * i + std::size_t(c)] = std::uint8_t(std::clamp(rgb[c], 0, 255));
  }
  image.channels = 3;
  image.pixels.resize(3 * pixels);
}

int choose_denominator(const jpeg_decompress_struct& info, int shorter_side) {
  if (shorter_side <= 0) return 1;
  const auto side = std::min(info.image_width, info.image_height);
  for (const int denominator : {8, 4, 2}) {
    if (side / unsigned(denominator) >= unsigned(shorter_side)) return denominator;
  }
  return 1;
}

}  // namespace

int jpeg_library_version() { return LIBJPEG_TURBO_VERSION_NUMBER; }

bool is_jpeg(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

Image decode_jpeg(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  JpegReader reader;
  if (!reader.read_header(bytes)) throw ImageError(reader.error());
  check_image_size(reader.info().image_height, reader.info().image_width, options);
  const std::int64_t pixels = std::int64_t{reader.info().image_height} * reader.info().image_width;
  if (!reader.info().arith_code && pixels / kMaxPixelsPerByte > std::int64_t(bytes.size())) {
    throw ImageError("JPEG: it is truncated: " + counted(bytes.size(), "byte") + " can't hold " +
                     std::to_string(pixels) + " pixels");
  }
  const int orientation = options.exif_orientation ? reader.orientation() : 1;
  if (!reader.start(choose_denominator(reader.info(), options.scaled_shorter_side))) {
    throw ImageError(reader.error());
  }
  Image image;
  image.reshape(int(reader.info().output_height), int(reader.info().output_width),
                reader.info().output_components);
  if (!reader.read_rows(image.pixels.data())) throw ImageError(reader.error());
  if (image.channels == 4) cmyk_to_rgb(image);
  turn_upright(image, orientation);
  return image;
}

}  // namespace hh::data
