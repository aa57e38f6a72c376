// SPDX-License-Identifier: Apache-2.0
// WebP by libwebp: the picture, or the first of an animation on its canvas, which is black where the
// picture doesn't reach. A few bytes can code a plain picture of any size, so only max_pixels
// limits what a small file may ask for.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "data/images/decode_formats.h"

namespace hh::data {
namespace {

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

/// The first picture; released with this.
struct FirstFrame {
  WebPIterator at = {};
  bool found;
  explicit FirstFrame(const WebPDemuxer* demuxer)
      : found(WebPDemuxGetFrame(demuxer, 1, &at) != 0) {}
  ~FirstFrame() { WebPDemuxReleaseIterator(&at); }
  FirstFrame(const FirstFrame&) = delete;
  FirstFrame& operator=(const FirstFrame&) = delete;
};

/// The block is a TIFF structure, and some programs write a JPEG's "Exif\0\0" before it.
int orientation_of(const WebPDemuxer* demuxer) {
  WebPChunkIterator chunk = {};
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk) != 0) {
    const std::span block(chunk.chunk.bytes, chunk.chunk.size);
    const bool as_in_jpeg = block.size() >= 4 && std::memcmp(block.data(), "Exif", 4) == 0;
    orientation = as_in_jpeg ? exif_orientation(block) : tiff_orientation(block);
  }
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

}  // namespace

int webp_library_version() { return WebPGetDecoderVersion(); }

bool is_webp(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 12 && std::memcmp(bytes.data(), "RIFF", 4) == 0 &&
         std::memcmp(bytes.data() + 8, "WEBP", 4) == 0;
}

Image decode_webp(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  const WebPData file{bytes.data(), bytes.size()};
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  const Demuxer demuxer(WebPDemuxPartial(&file, &state), WebPDemuxDelete);
  if (state == WEBP_DEMUX_PARSE_ERROR) throw ImageError("WebP: it is damaged");
  if (!demuxer || state != WEBP_DEMUX_DONE) throw ImageError("WebP: it is truncated");
  const std::int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  const std::int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  check_image_size(height, width, options);
  const FirstFrame frame(demuxer.get());
  const auto inside = [](std::int64_t offset, std::int64_t extent, std::int64_t whole) {
    return offset >= 0 && extent >= 1 && offset + extent <= whole;
  };
  if (!frame.found || frame.at.complete == 0 || !inside(frame.at.x_offset, frame.at.width, width) ||
      !inside(frame.at.y_offset, frame.at.height, height)) {
    throw ImageError("WebP: it is damaged");
  }
  Image image;
  image.reshape(int(height), int(width), 3);  // zeros
  const std::size_t first =
      std::size_t(frame.at.y_offset) * image.row_bytes() + std::size_t(frame.at.x_offset) * 3;
  if (WebPDecodeRGBInto(frame.at.fragment.bytes, frame.at.fragment.size,
                        image.pixels.data() + first, image.pixels.size() - first,
                        int(image.row_bytes())) == nullptr) {
    throw ImageError("WebP: it is damaged");
  }
  if (options.exif_orientation) turn_upright(image, orientation_of(demuxer.get()));
  return image;
}

}  // namespace hh::data
