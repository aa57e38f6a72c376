// SPDX-License-Identifier: Apache-2.0
// The seeds of the fuzz targets: small valid files of every kind, and some that are nearly so.
#include <cstdio>
#include <filesystem>
#include <string>

#include "data/cache/picture_cache.h"
#include "data/experiments/split_file.h"
#include "engine/files/file.h"
#include "engine/files/safetensors.h"
#include "tests/support/images.h"

namespace {
using namespace hh;
using testing::Bytes;
std::filesystem::path corpus;

void put(const std::string& target, const std::string& name, std::string_view bytes) {
  std::filesystem::create_directories(corpus / target);
  write_file_atomically(corpus / target / name, bytes);
}
void put(const std::string& target, const std::string& name, const Bytes& bytes) {
  put(target, name, testing::as_text(bytes));
}

void put_images() {
  const auto rgb = testing::picture(9, 11, 3), grey = testing::picture(9, 11, 1);
  put("jpeg", "rgb420.jpg", testing::encode_jpeg(rgb));
  put("jpeg", "rgb444.jpg", testing::encode_jpeg(rgb, {.halve_chroma = false}));
  put("jpeg", "grey.jpg", testing::encode_jpeg(grey));
  put("jpeg", "cmyk.jpg", testing::encode_jpeg(testing::picture(9, 11, 4)));
  put("jpeg", "progressive.jpg", testing::encode_jpeg(rgb, {.progressive = true}));
  put("jpeg", "exif.jpg", testing::encode_jpeg(rgb, {.orientation = 6}));
  for (int channels = 1; channels <= 4; ++channels) {
    put("png", "channels" + std::to_string(channels) + ".png",
        testing::encode_png(testing::picture(5, 7, channels)));
  }
  put("png", "grey16.png", testing::encode_png(1, 2, 16, 0, {0, 1, 2, 3, 4}));
  put("png", "palette.png",
      testing::encode_png(1, 4, 2, 3, {0, 0b00011001}, {1, 2, 3, 4, 5, 6, 7, 8, 9}));
  put("png", "filters.png", testing::encode_png(5, 1, 8, 0, {0, 9, 1, 9, 2, 9, 3, 9, 4, 9}));
  put("bmp", "rgb.bmp", testing::encode_bmp(testing::picture(5, 7, 3)));
  put("pnm", "rgb.ppm", testing::encode_pnm(testing::picture(3, 4, 3)));
  put("pnm", "grey.pgm", testing::encode_pnm(testing::picture(3, 4, 1)));
  put("pnm", "deep.pgm", std::string_view("P5\t1 2\r65535\n1234"));
  put("exif", "little", testing::exif_block(6, true));
  put("exif", "big", testing::exif_block(8, false));
}

void put_pictures() {
  std::filesystem::create_directories(corpus / "pictures");
  data::PictureCacheWriter writer(corpus / "pictures/two", 1, "seed");
  const auto grey = testing::picture(2, 3, 1);
  writer.add("/a.jpg", {.file = {9, 1, 2}, .height = 2, .width = 3},
             std::as_bytes(std::span(grey.pixels)));
  writer.add("/broken.jpg", {.file = {9, 1, 2}}, {});
  writer.commit();
}

void put_data_sets() {
  put("idx", "images", testing::idx_file({2, 3, 4}));
  put("idx", "labels", testing::idx_file({5}, 10));
  put("idx", "empty", testing::idx_file({0, 2}));
  put("gzip", "idx.gz", testing::gzip(testing::idx_file({2, 3, 4})));
  put("gzip", "zeros.gz", testing::gzip(Bytes(5000, 0)));
  Bytes record(3073, 7);
  put("cifar", "one", record);
  record.front() = 10;
  put("cifar", "label10", record);
  put("list", "single.txt", std::string_view("a.jpg 1\nb/c.png 0\n"));
  put("list", "windows.txt",
      std::string_view("\xef\xbb\xbf"
                       "a.jpg 0 1 1\r\n\r\nb 1 0 0"));
  put("list", "uneven.txt", std::string_view("a 0 1\nb 0\n"));
  const auto split = corpus / "split" / "split.json";
  std::filesystem::create_directories(split.parent_path());
  const data::MemoryDataset nine("nine", 1, 1, 1, Bytes(9, 0), data::Labels(9, 1), {"one"});
  data::write_split(split, {{0}, {1, 2}, {2, 3, 8}}, {2}, nine, "cifar10", 7);
  put("transform", "shorter", Bytes{31, 0, 1, 36, 1, 0, 128, 40, 0, 50, 0, 1, 2, 3, 4});
  put("transform", "exact", Bytes{23, 1, 2, 23, 0, 0, 0, 31, 0, 31, 0, 9});
  put("transform", "near", Bytes{31, 1, 0, 0, 2, 3, 128, 27, 0, 27, 1, 200, 100});
}

void put_safetensors() {
  const std::vector<float> f = {1, 2, 3, 4, 5, 6};
  const std::vector<std::int64_t> i = {-1, 1};
  const auto path = corpus / "safetensors";
  std::filesystem::create_directories(path);
  write_safetensors(path / "two",
                    {{"f", "F32", {2, 3}, std::as_bytes(std::span(f))},
                     {"i", "I64", {2}, std::as_bytes(std::span(i))}},
                    {{"format", "pt"}});
  write_safetensors(path / "none", {}, {});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus FOLDER\n");
    return 2;
  }
  corpus = argv[1];
  put_images();
  put_pictures();
  put_data_sets();
  put_safetensors();
}
