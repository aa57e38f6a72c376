// SPDX-License-Identifier: Apache-2.0
#include "tests/support/images.h"

// jpeglib.h needs stdio.h before it.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <stdexcept>

#include "kernels/core/philox.h"

namespace hh::testing {
namespace {

void append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }

void append_big32(Bytes& to, std::size_t value) {
  for (const int shift : {24, 16, 8, 0}) to.push_back(std::uint8_t(value >> shift));
}

void append_little(Bytes& to, std::size_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(std::uint8_t(value >> (8 * i)));
}

void append_png_chunk(Bytes& to, const char* type, const Bytes& data) {
  append_big32(to, data.size());
  const std::size_t begin = to.size();
  to.insert(to.end(), type, type + 4);
  append(to, data);
  append_big32(to, crc32(0, to.data() + begin, uInt(to.size() - begin)));
}

Bytes deflate(const Bytes& bytes) {
  uLongf size = compressBound(uLong(bytes.size()));
  Bytes out(size);
  if (compress2(out.data(), &size, bytes.data(), uLong(bytes.size()), Z_BEST_COMPRESSION) != Z_OK) {
    throw std::runtime_error("deflate");
  }
  out.resize(size);
  return out;
}

}  // namespace

data::Image picture(int height, int width, int channels, std::uint64_t seed) {
  const Philox random(seed, RandomPurpose::kTest);
  data::Image image;
  image.reshape(height, width, channels);
  std::uint64_t at = 64;
  std::uint8_t* p = image.pixels.data();
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        double v = 128;
        for (std::uint64_t wave = 0; wave < 3; ++wave) {
          const std::uint64_t i = (std::uint64_t(c) * 3 + wave) * 3;
          v += 35 * std::sin(0.2 * random.uniform(i) * x + 0.2 * random.uniform(i + 1) * y +
                             6.3 * random.uniform(i + 2));
        }
        v += 8 * random.uniform(at++) - 4;
        *p++ = std::uint8_t(std::clamp(v, 0.0, 255.0));
      }
    }
  }
  return image;
}

Bytes exif_block(int orientation, bool little_endian) {
  Bytes block = {'E', 'x', 'i', 'f', 0, 0};
  const auto put = [&](std::size_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      block.push_back(std::uint8_t(value >> (8 * (little_endian ? i : bytes - 1 - i))));
    }
  };
  block.insert(block.end(), 2, little_endian ? 'I' : 'M');
  put(42, 2);
  put(8, 4);       // the directory follows
  put(1, 2);       // of one entry:
  put(0x0112, 2);  // orientation,
  put(3, 2);       // a 16-bit number,
  put(1, 4);       // one of it
  put(std::size_t(orientation), 2);
  put(0, 2);
  put(0, 4);  // no further directory
  return block;
}

Bytes encode_jpeg(const data::Image& image, const JpegStyle& style) {
  jpeg_compress_struct cinfo = {};
  jpeg_error_mgr errors = {};
  cinfo.err = jpeg_std_error(&errors);
  jpeg_create_compress(&cinfo);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&cinfo, &memory, &size);
  cinfo.image_width = JDIMENSION(image.width);
  cinfo.image_height = JDIMENSION(image.height);
  cinfo.input_components = image.channels;
  cinfo.in_color_space = image.channels == 1   ? JCS_GRAYSCALE
                         : image.channels == 3 ? JCS_RGB
                                               : JCS_CMYK;
  jpeg_set_defaults(&cinfo);
  jpeg_set_quality(&cinfo, style.quality, TRUE);
  if (!style.halve_chroma) cinfo.comp_info[0].h_samp_factor = cinfo.comp_info[0].v_samp_factor = 1;
  if (style.progressive) jpeg_simple_progression(&cinfo);
  jpeg_start_compress(&cinfo, TRUE);
  if (style.orientation != 0) {
    const Bytes block = exif_block(style.orientation, style.orientation % 2 == 0);
    jpeg_write_marker(&cinfo, JPEG_APP0 + 1, block.data(), unsigned(block.size()));
  }
  while (cinfo.next_scanline < cinfo.image_height) {
    JSAMPROW row =
        const_cast<JSAMPROW>(&image.pixels[std::size_t(cinfo.next_scanline) * image.row_bytes()]);
    jpeg_write_scanlines(&cinfo, &row, 1);
  }
  jpeg_finish_compress(&cinfo);
  jpeg_destroy_compress(&cinfo);
  Bytes bytes(memory, memory + size);
  std::free(memory);
  return bytes;
}

Bytes encode_png(int height, int width, int bit_depth, int colour_type, const Bytes& scanlines,
                 const Bytes& palette) {
  Bytes file = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  Bytes header;
  append_big32(header, std::size_t(width));
  append_big32(header, std::size_t(height));
  append(header, {std::uint8_t(bit_depth), std::uint8_t(colour_type), 0, 0, 0});
  append_png_chunk(file, "IHDR", header);
  if (!palette.empty()) append_png_chunk(file, "PLTE", palette);
  append_png_chunk(file, "IDAT", deflate(scanlines));
  append_png_chunk(file, "IEND", {});
  return file;
}

Bytes encode_png(const data::Image& image) {
  Bytes scanlines;
  for (int y = 0; y < image.height; ++y) {
    scanlines.push_back(0);  // no filter
    const auto row = image.pixels.begin() + y * std::ptrdiff_t(image.row_bytes());
    scanlines.insert(scanlines.end(), row, row + std::ptrdiff_t(image.row_bytes()));
  }
  constexpr int kColourType[] = {0, 0, 4, 2, 6};  // by number of channels
  return encode_png(image.height, image.width, 8, kColourType[image.channels], scanlines);
}

Bytes encode_pnm(const data::Image& image) {
  const std::string header = std::string(image.channels == 3 ? "P6" : "P5") + "\n# a comment\n" +
                             std::to_string(image.width) + " " + std::to_string(image.height) +
                             "\n255\n";
  Bytes file(header.begin(), header.end());
  append(file, image.pixels);
  return file;
}

Bytes encode_bmp(const data::Image& image) {
  const std::size_t stride = (image.row_bytes() + 3) / 4 * 4;
  constexpr std::size_t kHead = 14 + 40;
  Bytes file = {'B', 'M'};
  append_little(file, kHead + stride * std::size_t(image.height), 4);
  append_little(file, 0, 4);
  append_little(file, kHead, 4);
  append_little(file, 40, 4);
  append_little(file, std::size_t(image.width), 4);
  append_little(file, std::size_t(image.height), 4);
  append_little(file, 1, 2);
  append_little(file, 24, 2);
  append(file, Bytes(24, 0));
  for (int y = image.height - 1; y >= 0; --y) {
    const std::uint8_t* row = &image.pixels[std::size_t(y) * image.row_bytes()];
    for (std::size_t x = 0; x < std::size_t(image.width); ++x) {
      append(file, {row[3 * x + 2], row[3 * x + 1], row[3 * x]});
    }
    append(file, Bytes(stride - image.row_bytes(), 0));
  }
  return file;
}

Bytes gzip(const Bytes& bytes) {
  z_stream stream = {};
  constexpr int kGzip = 16 + 15, kMemoryLevel = 8;
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzip, kMemoryLevel,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  Bytes out(deflateBound(&stream, uLong(bytes.size())));
  stream.next_in = const_cast<std::uint8_t*>(bytes.data());
  stream.avail_in = uInt(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = uInt(out.size());
  const int state = ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (state != Z_STREAM_END) throw std::runtime_error("deflate");
  return out;
}

Bytes idx_file(const std::vector<std::uint32_t>& shape, int modulus) {
  Bytes file = {0, 0, 8, std::uint8_t(shape.size())};
  for (const std::uint32_t size : shape) append_big32(file, size);
  const std::size_t count =
      std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
  for (std::size_t i = 0; i < count; ++i) file.push_back(std::uint8_t(i % std::size_t(modulus)));
  return file;
}

std::string as_text(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace hh::testing
