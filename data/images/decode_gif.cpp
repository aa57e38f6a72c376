// SPDX-License-Identifier: Apache-2.0
// The first picture of a GIF by giflib, on the file's canvas. Where the picture doesn't reach, the
// canvas has the transparent colour, or colour 0, as Pillow has it.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "data/images/decode_formats.h"
#include "engine/text/counted.h"

namespace hh::data {
namespace {

// A code of 12 bits stands for at most 4096 - 258 pixels: 2559 a byte. What claims to hold more is
// truncated, and must not get memory.
constexpr std::int64_t kMaxPixelsPerByte = 2600;

void close(GifFileType* gif) { DGifCloseFile(gif, nullptr); }
using GifFile = std::unique_ptr<GifFileType, decltype(&close)>;

class GifReader {
 public:
  explicit GifReader(std::span<const std::uint8_t> bytes)
      : size_(std::int64_t(bytes.size())), rest_(bytes), gif_(nullptr, close) {
    int error = 0;
    gif_.reset(DGifOpen(this, read, &error));
    if (!gif_) fail(error);
  }

  Image first_picture(const DecodeOptions& options) {
    for (int transparent = NO_TRANSPARENT_COLOR;;) {
      GifRecordType type = UNDEFINED_RECORD_TYPE;
      require(DGifGetRecordType(gif_.get(), &type));
      if (type == IMAGE_DESC_RECORD_TYPE) {
        require(DGifGetImageDesc(gif_.get()));
        return picture(transparent, options);
      }
      if (type == TERMINATE_RECORD_TYPE) throw ImageError("GIF: it holds no picture");
      if (type == EXTENSION_RECORD_TYPE) skip_extension(transparent);
    }
  }

 private:
  static int read(GifFileType* gif, GifByteType* to, int count) {
    auto& rest = static_cast<GifReader*>(gif->UserData)->rest_;
    const std::size_t n = std::min(std::size_t(count), rest.size());
    std::copy_n(rest.begin(), n, to);
    rest = rest.subspan(n);
    return int(n);
  }
  [[noreturn]] void fail(int error) const {
    if (rest_.empty()) throw ImageError("GIF: it is truncated");
    const char* const text = GifErrorString(error);
    throw ImageError(std::string("GIF: it is damaged") +
                     (text == nullptr ? "" : std::string(": ") + text));
  }
  void require(int result) const {
    if (result == GIF_ERROR) fail(gif_->Error);
  }

  void skip_extension(int& transparent) {
    int code = 0;
    GifByteType* block = nullptr;
    require(DGifGetExtension(gif_.get(), &code, &block));
    while (block != nullptr) {
      GraphicsControlBlock control;
      if (code == GRAPHICS_EXT_FUNC_CODE && DGifExtensionToGCB(block[0], block + 1, &control)) {
        transparent = control.TransparentColor;
      }
      require(DGifGetExtensionNext(gif_.get(), &block));
    }
  }

  Image picture(int transparent, const DecodeOptions& options) {
    const GifImageDesc& at = gif_->Image;
    const std::int64_t height = std::max<std::int64_t>(gif_->SHeight, at.Top + at.Height);
    const std::int64_t width = std::max<std::int64_t>(gif_->SWidth, at.Left + at.Width);
    check_image_size(height, width, options);
    if (at.Height < 1 || at.Width < 1) throw ImageError("GIF: it holds no picture");
    if (height * width / kMaxPixelsPerByte > size_) {
      throw ImageError("GIF: it is truncated: " + counted(std::size_t(size_), "byte") +
                       " can't hold " + std::to_string(width) + " x " + std::to_string(height) +
                       " pixels");
    }
    const ColorMapObject* colours = at.ColorMap != nullptr ? at.ColorMap : gif_->SColorMap;
    const auto fill = std::uint8_t(transparent == NO_TRANSPARENT_COLOR ? 0 : transparent);
    std::vector<std::uint8_t> indices(std::size_t(height * width), fill);
    read_rows(at, indices.data() + at.Top * width + at.Left, width);
    Image image;
    image.reshape(int(height), int(width), 3);
    std::uint8_t* to = image.pixels.data();
    for (const std::uint8_t index : indices) {
      GifColorType colour{index, index, index};  // without a palette an index is a grey
      if (colours != nullptr) {
        colour = index < colours->ColorCount ? colours->Colors[index] : GifColorType{0, 0, 0};
      }
      *to++ = colour.Red;
      *to++ = colour.Green;
      *to++ = colour.Blue;
    }
    return image;
  }

  void read_rows(const GifImageDesc& at, std::uint8_t* to, std::int64_t stride) {
    struct Pass {
      int first, step;
    };
    constexpr Pass kPlain[] = {{0, 1}}, kInterlaced[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
    for (const Pass pass : at.Interlace ? std::span<const Pass>(kInterlaced) : kPlain) {
      for (int y = pass.first; y < at.Height; y += pass.step) {
        require(DGifGetLine(gif_.get(), to + y * stride, at.Width));
      }
    }
  }

  std::int64_t size_;
  std::span<const std::uint8_t> rest_;
  GifFile gif_;
};

}  // namespace

bool is_gif(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 6 && (std::memcmp(bytes.data(), "GIF87a", 6) == 0 ||
                               std::memcmp(bytes.data(), "GIF89a", 6) == 0);
}

Image decode_gif(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  return GifReader(bytes).first_picture(options);
}

}  // namespace hh::data
