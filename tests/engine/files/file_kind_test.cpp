// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file_kind.h"

#include <catch2/catch.hpp>

#include "engine/files/safetensors.h"

namespace hh {
namespace {

using Catch::Contains;
using namespace std::string_literals;

TEST_CASE("files in a model's or code file's place are named, with the way out", "[file_kind]") {
  const std::tuple<std::string, const char*, const char*> files[] = {
      {"PK\3\4\x14\0\0\0 archive/data.pkl"s, "torch.save", "safetensors.torch.save_file"},
      {"PK\3\4\x14\0\0\0 codes.npy"s, "NumPy arrays (.npz)", "numpy.save"},
      {"PK\3\4\x14\0\0\0 readme.txt"s, "a ZIP archive", "unpack"},
      {"\x80\2}q\0X\4\0\0\0"s, "a Python pickle", "numpy.save"},
      {"\x93NUMPY\1\0v\0{'descr"s, "a NumPy array", ".npy"},
      {"id,code\n1,0fa3\n", "a CSV file", ".csv"},
      {"some words, and more", "text", "hybridhash train"},
      {"\x08\x08\x12\x07pytorch\x1a\x05"s, "an ONNX model", ".safetensors"},
      {"\x1f\x8b\x08\0\0\0\0\0\0"s, "a gzip file", "gunzip"},
      {"IxF2\x20\0\0\0\x64\0\0\0\0"s, "FAISS index of real-valued vectors (IxF2)", "binary codes"},
      {"IHNf\x20\0\0\0\x64\0\0\0\0"s, "FAISS index of real-valued vectors (IHNf)", "binary codes"},
      {"IBwF\x20\0\0\0\4\0\0\0\0"s, "FAISS index (IndexBinaryIVF)", "IndexBinaryFlat"},
      {"IBHf\x20\0\0\0\4\0\0\0\0"s, "FAISS index (IndexBinaryHNSW)", "IndexBinaryFlat"},
      {"IBHh\x20\0\0\0\4\0\0\0\0"s, "FAISS index (IndexBinaryHash)", "IndexBinaryFlat"},
      {"IBxF\x20\0\0\0\4\0\0\0\0"s, "FAISS index of binary codes", "--codes"},
      {"RIFF\x10\0\0\0WEBPVP8 "s, "a WebP image", ""},
      {"<!DOCTYPE html><html>"s, "an HTML page", ""},
      {"\xff\xd8\xff\xe0\0\x10JFIF\0"s, "a JPEG image", ""}};
  for (const auto& [text, name, cure] : files) {
    CAPTURE(name);
    REQUIRE_THROWS_WITH(SafetensorsFile::parse(std::as_bytes(std::span(text)), "f.x"),
                        Contains("f.x: it is ") && Contains(name) && Contains(cure) &&
                            Contains(", not a safetensors file"));
  }
  const std::string noise(1000, '\xa5');
  CHECK(kind_text(std::as_bytes(std::span(noise)), "any").empty());
}

TEST_CASE("text is told apart by its first lines", "[file_kind]") {
  for (const auto& [text, kind] :
       {std::pair<std::string, std::string>{"[data]\nprotocol = \"folder\"\n", "a TOML file"},
        {"# a recipe\n\ntrain.epochs = 3\n", "a TOML file"},
        {"[[table]]\n", "a TOML file"},
        {"[1, 2]\n", "a JSON file"},
        {"[\"a\", [true]]", "a JSON file"},
        {"[true]", "a JSON file"},
        {"[\n[data]]", "a JSON file"},
        {"{\"format\": 1}", "a JSON file"},
        {"id,code\n1,0fa3\n", "a CSV file"},
        {"id;code\r\n1;0fa3\r\n", "a CSV file"},
        {"no kind of file", "text"},
        {"a.jpg 0 1\nb, c.jpg 1 0\n", "text"},
        {std::string(1023, 'a') + "\xc3\xa9", "text"}}) {
    CAPTURE(text);
    CHECK_THAT(kind_text(std::as_bytes(std::span(text)), "any"),
               Catch::StartsWith("it is " + kind));
  }
  const std::string csv = "id,code\n1,0fa3\n";
  CHECK_THAT(kind_text(std::as_bytes(std::span(csv)), "any", "x.txt"), Contains("ends in .csv"));
  CHECK_THAT(kind_text(std::as_bytes(std::span(csv)), "any", "x.csv"), !Contains("ends in"));
}

TEST_CASE("a header's length that looks like a kind of file is a length", "[file_kind]") {
  // 0x280 bytes: begins as a pickle does.
  const std::string header = "{}" + std::string(0x280 - 2, ' ');
  const std::string text = "\x80\x02\0\0\0\0\0\0"s + header;
  CHECK(SafetensorsFile::parse(std::as_bytes(std::span(text)), "t").names().empty());
}

}  // namespace
}  // namespace hh
