// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/faiss_file.h"

#include <array>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "engine/files/file.h"
#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

constexpr std::string_view kFlat = "IBxF", kMap = "IBMp", kMap2 = "IBM2";
constexpr std::int32_t kMetricL2 = 1;  // what FAISS writes for binary indexes, and never looks at

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw std::runtime_error(name + ": not a usable FAISS binary index: " + what +
                           ": write it again by faiss.write_index_binary");
}

class Input {
 public:
  Input(std::span<const std::byte> bytes, const std::string& name) : rest_(bytes), name_(name) {}

  template <class T>
  T value() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> take(std::size_t count) {
    if (count > rest_.size()) fail(name_, "it is cut short");
    const auto bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }
  std::string fourcc() {
    const auto bytes = take(4);
    return {reinterpret_cast<const char*>(bytes.data()), 4};
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
  const std::string& name_;
};

struct Header {
  std::int32_t bits = 0;
  std::int64_t count = 0;
};

Header read_header(Input& in, const std::string& name) {
  const auto bits = in.value<std::int32_t>(), code_bytes = in.value<std::int32_t>();
  const auto count = in.value<std::int64_t>();
  in.value<std::uint8_t>();  // is_trained
  in.value<std::int32_t>();  // metric_type
  if (bits < 8 || bits > kMaxBits || bits % 8 != 0 || code_bytes != bits / 8) {
    fail(name, "codes of " + std::to_string(bits) + " bits in " + std::to_string(code_bytes) +
                   " bytes; 8 to 512 bits, a multiple of 8, can be used");
  }
  if (count < 0) fail(name, std::to_string(count) + " codes");
  return {bits, count};
}

void check_size(std::uint64_t size, std::uint64_t count, std::uint64_t each,
                const std::string& name) {
  if (size % each != 0 || size / each != count) {
    fail(name, "an array of " + std::to_string(size) + " for " + std::to_string(count) + " codes");
  }
}

void write_header(AtomicFile& file, std::string_view fourcc, CodesView codes) {
  // FAISS has whole bytes; bits past the last are zero and add nothing to a distance.
  const std::int32_t sizes[] = {8 * codes.row_bytes(), codes.row_bytes()};
  file.write(fourcc);
  file.write(sizes, sizeof sizes);
  file.write(&codes.count, sizeof codes.count);
  file.write(std::string_view("\1", 1));
  file.write(&kMetricL2, sizeof kMetricL2);
}

}  // namespace

bool is_faiss_file(std::span<const std::byte> bytes) {
  if (bytes.size() < 4) return false;
  const std::string_view fourcc(reinterpret_cast<const char*>(bytes.data()), 4);
  return fourcc == kFlat || fourcc == kMap || fourcc == kMap2;
}

FaissCodes parse_faiss_file(std::span<const std::byte> bytes, const std::string& name) {
  Input in(bytes, name);
  std::string fourcc = in.fourcc();
  const bool map = fourcc == kMap || fourcc == kMap2;
  if (!map && fourcc != kFlat) {
    fail(name, "it begins with '" + fourcc + "', not with IBxF, IBMp or IBM2");
  }
  const Header header = read_header(in, name);
  if (map) {
    fourcc = in.fourcc();
    if (fourcc != kFlat) fail(name, "its ids are those of a '" + fourcc + "', not of an IBxF");
    const Header inner = read_header(in, name);
    if (inner.bits != header.bits || inner.count != header.count) {
      fail(name, "its ids and its codes differ in number or width");
    }
  }
  FaissCodes all;
  const auto size = in.value<std::uint64_t>();
  check_size(size, std::uint64_t(header.count), std::uint64_t(header.bits) / 8, name);
  const auto codes = in.take(size);
  all.codes =
      PackedCodes::from_bytes({reinterpret_cast<const std::uint8_t*>(codes.data()), codes.size()},
                              header.count, header.bits);
  all.ids.resize(std::size_t(header.count));
  if (map) {
    check_size(in.value<std::uint64_t>(), std::uint64_t(header.count), 1, name);
    const auto ids = in.take(all.ids.size() * sizeof(std::int64_t));
    if (!ids.empty()) std::memcpy(all.ids.data(), ids.data(), ids.size());
  } else {
    std::iota(all.ids.begin(), all.ids.end(), 0);
  }
  if (!in.at_end()) fail(name, "there are bytes behind its end");
  return all;
}

FaissCodes read_faiss_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_faiss_file(file.bytes(), path.string());
}

void write_faiss_file(const std::filesystem::path& path, CodesView codes,
                      std::span<const std::int64_t> ids) {
  HH_PRECONDITION(ids.size() == std::size_t(codes.count),
                  codes.count << " codes, but " << ids.size() << " ids");
  bool plain = true;
  for (std::size_t i = 0; i < ids.size(); ++i) plain = plain && ids[i] == std::int64_t(i);
  AtomicFile file(path);
  if (!plain) write_header(file, kMap, codes);
  write_header(file, kFlat, codes);
  const auto width = std::size_t(codes.row_bytes());
  const std::uint64_t size = std::uint64_t(codes.count) * width;
  file.write(&size, sizeof size);
  std::string block;
  constexpr std::size_t kBlock = 1 << 20;
  for (std::int64_t i = 0; i < codes.count; ++i) {
    block.append(reinterpret_cast<const char*>(codes.row(i).data()), width);
    if (block.size() < kBlock) continue;
    file.write(block);
    block.clear();
  }
  file.write(block);
  if (!plain) {
    const std::uint64_t count = ids.size();
    file.write(&count, sizeof count);
    file.write(ids.data(), ids.size_bytes());
  }
  file.commit();
}

}  // namespace hh::retrieval
