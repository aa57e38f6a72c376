// SPDX-License-Identifier: Apache-2.0
// HEIC and AVIF by libheif, where it is: built in if its header was there, and then loaded when the
// first such file comes, since it brings a dozen other libraries along. It turns pictures itself, as
// the container says. Its decoders take memory for what the coded data say, which only libheif
// checks: max_pixels is held against the container's header.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "data/images/decode_formats.h"
#ifdef HH_HEIF
#include <dlfcn.h>
#include <libheif/heif.h>
#endif

namespace hh::data {

bool is_heif(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < 12 || std::memcmp(bytes.data() + 4, "ftyp", 4) != 0) return false;
  for (const char* brand :
       {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "avis"}) {
    if (std::memcmp(bytes.data() + 8, brand, 4) == 0) return true;
  }
  return false;
}

#ifdef HH_HEIF
namespace {

constexpr int kBlock = 64;
constexpr const char* kLibrary = "libheif.so.1";

/// What is used of it; all null where it isn't installed.
struct Library {
  decltype(&heif_context_alloc) context_alloc = nullptr;
  decltype(&heif_context_free) context_free = nullptr;
  decltype(&heif_context_set_max_decoding_threads) set_threads = nullptr;
  decltype(&heif_context_read_from_memory_without_copy) read = nullptr;
  decltype(&heif_context_get_primary_image_handle) primary = nullptr;
  decltype(&heif_image_handle_release) handle_release = nullptr;
  decltype(&heif_image_handle_get_width) width = nullptr;
  decltype(&heif_image_handle_get_height) height = nullptr;
  decltype(&heif_image_handle_get_ispe_width) coded_width = nullptr;
  decltype(&heif_image_handle_get_ispe_height) coded_height = nullptr;
  decltype(&heif_decode_image) decode = nullptr;
  decltype(&heif_image_get_width) image_width = nullptr;
  decltype(&heif_image_get_height) image_height = nullptr;
  decltype(&heif_image_get_plane_readonly) plane = nullptr;
  decltype(&heif_image_release) image_release = nullptr;
  bool there = false;

  Library() {
    void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    there = true;
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
      if (function == nullptr) there = false;
    };
    find(context_alloc, "heif_context_alloc");
    find(context_free, "heif_context_free");
    find(set_threads, "heif_context_set_max_decoding_threads");
    find(read, "heif_context_read_from_memory_without_copy");
    find(primary, "heif_context_get_primary_image_handle");
    find(handle_release, "heif_image_handle_release");
    find(width, "heif_image_handle_get_width");
    find(height, "heif_image_handle_get_height");
    find(coded_width, "heif_image_handle_get_ispe_width");
    find(coded_height, "heif_image_handle_get_ispe_height");
    find(decode, "heif_decode_image");
    find(image_width, "heif_image_get_width");
    find(image_height, "heif_image_get_height");
    find(plane, "heif_image_get_plane_readonly");
    find(image_release, "heif_image_release");
  }
};

const Library& library() {
  static const Library loaded;
  return loaded;
}

void require(const heif_error& error) {
  if (error.code != heif_error_Ok) {
    throw ImageError(std::string("HEIF: it is damaged or of a kind that libheif doesn't read: ") +
                     (error.message == nullptr ? "" : error.message));
  }
}

}  // namespace

bool reads_heif() { return library().there; }

Image decode_heif(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  const Library& heif = library();
  if (!heif.there) {
    throw ImageError(std::string("it is an HEIC or AVIF image, and ") + kLibrary +
                     ", which reads those, can't be loaded: install it (Debian's package is "
                     "libheif1), or convert the image to JPEG or PNG");
  }
  const std::unique_ptr<heif_context, decltype(heif.context_free)> context(heif.context_alloc(),
                                                                           heif.context_free);
  if (!context) throw ImageError("HEIF: no memory");
  heif.set_threads(context.get(), 0);  // the loader has threads of its own
  require(heif.read(context.get(), bytes.data(), bytes.size(), nullptr));
  heif_image_handle* found = nullptr;
  require(heif.primary(context.get(), &found));
  const std::unique_ptr<heif_image_handle, decltype(heif.handle_release)> handle(
      found, heif.handle_release);
  // What is coded may be whole blocks, of which a part is shown.
  const auto at_least = [](int extent) { return std::max(1, extent - kBlock + 1); };
  check_image_size(at_least(heif.coded_height(found)), at_least(heif.coded_width(found)), options);
  check_image_size(heif.height(found), heif.width(found), options);
  heif_image* decoded = nullptr;
  require(heif.decode(found, &decoded, heif_colorspace_RGB, heif_chroma_interleaved_RGB, nullptr));
  const std::unique_ptr<heif_image, decltype(heif.image_release)> owner(decoded,
                                                                        heif.image_release);
  const int height = heif.image_height(decoded, heif_channel_interleaved);
  const int width = heif.image_width(decoded, heif_channel_interleaved);
  check_image_size(height, width, options);
  int stride = 0;
  const std::uint8_t* const rows = heif.plane(decoded, heif_channel_interleaved, &stride);
  if (rows == nullptr) throw ImageError("HEIF: it holds no picture");
  Image image;
  image.reshape(height, width, 3);
  for (int y = 0; y < height; ++y) {
    std::memcpy(&image.pixels[std::size_t(y) * image.row_bytes()],
                rows + std::ptrdiff_t{y} * stride, image.row_bytes());
  }
  return image;
}

#else

bool reads_heif() { return false; }

Image decode_heif(std::span<const std::uint8_t>, const DecodeOptions&) {
  throw ImageError(
      "it is an HEIC or AVIF image, and this program was built without libheif's header "
      "(libheif-dev): convert it to JPEG or PNG");
}

#endif

}  // namespace hh::data
