// SPDX-License-Identifier: Apache-2.0
#include "data/sets/cifar.h"

#include <stdexcept>
#include <string>

#include "engine/files/file.h"
#include "engine/text/counted.h"

namespace hh::data {
namespace {
constexpr std::size_t kSide = 32, kPlane = kSide * kSide, kRecord = 1 + 3 * kPlane;
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;  // a real file has 30,730,000
}  // namespace

void parse_cifar10(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& pixels,
                   std::vector<std::uint8_t>& classes) {
  if (bytes.empty() || bytes.size() % kRecord != 0) {
    throw std::runtime_error("CIFAR-10: " + counted(bytes.size(), "byte") +
                             " are no whole number of records of " + std::to_string(kRecord) +
                             ": fetch the binary version again");
  }
  const std::size_t records = bytes.size() / kRecord;
  for (std::size_t i = 0; i < records; ++i) {
    if (bytes[i * kRecord] > 9) {
      throw std::runtime_error("CIFAR-10: record " + std::to_string(i) + " has the label " +
                               std::to_string(bytes[i * kRecord]) +
                               "; 0 to 9 are known: fetch the binary version again");
    }
  }
  const std::size_t old = pixels.size();
  pixels.resize(old + records * 3 * kPlane);
  std::uint8_t* to = pixels.data() + old;
  for (std::size_t i = 0; i < records; ++i) {
    classes.push_back(bytes[i * kRecord]);
    const std::uint8_t* from = bytes.data() + i * kRecord + 1;
    for (std::size_t p = 0; p < kPlane; ++p) {
      for (std::size_t c = 0; c < 3; ++c) *to++ = from[c * kPlane + p];
    }
  }
}

std::unique_ptr<Dataset> open_cifar10(const std::filesystem::path& folder) {
  const auto inner = folder / "cifar-10-batches-bin";
  std::error_code ignored;
  const auto dir = std::filesystem::is_directory(inner, ignored) ? inner : folder;
  std::vector<std::uint8_t> pixels, classes;
  for (const char* name : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                           "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}) {
    if (!std::filesystem::exists(dir / name)) {
      throw std::runtime_error((dir / name).string() +
                               ": it is missing: unpack the binary version, "
                               "cifar-10-binary.tar.gz, and give its folder");
    }
    const auto bytes = read_file(dir / name, kMaxBytes);
    try {
      parse_cifar10(bytes, pixels, classes);
    } catch (const std::runtime_error& e) {
      throw std::runtime_error((dir / name).string() + ": " + e.what());
    }
  }
  Labels labels(std::int64_t(classes.size()), 10);
  for (std::size_t i = 0; i < classes.size(); ++i) labels.set(std::int64_t(i), classes[i]);
  return std::make_unique<MemoryDataset>(
      "cifar-10", int(kSide), int(kSide), 3, std::move(pixels), std::move(labels),
      std::vector<std::string>{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog",
                               "horse", "ship", "truck"});
}

}  // namespace hh::data
