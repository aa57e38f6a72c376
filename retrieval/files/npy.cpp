// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/npy.h"

#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>

#include "engine/files/file.h"
#include "engine/files/file_kind.h"
#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxHeader = 1 << 16;
constexpr std::size_t kMaxAxes = 8;

template <class T>
constexpr std::string_view descr();
template <>
constexpr std::string_view descr<std::uint8_t>() {
  return "|u1";
}
template <>
constexpr std::string_view descr<std::int32_t>() {
  return "<i4";
}
template <>
constexpr std::string_view descr<std::int64_t>() {
  return "<i8";
}
template <>
constexpr std::string_view descr<float>() {
  return "<f4";
}

[[noreturn]] void fail(const std::string& file, const std::string& what) {
  throw std::runtime_error(file + ": not an .npy file that can be used: " + what +
                           ": write the array again by numpy.save");
}

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Reads the header's Python dictionary: {'descr': '|u1', 'fortran_order': False, 'shape': (3, 8),
/// }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Header parse() {
    std::optional<std::string> type;
    std::optional<bool> fortran;
    std::optional<std::vector<std::int64_t>> shape;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !type) {
        type = string();
      } else if (key == "fortran_order" && !fortran) {
        fortran = boolean();
      } else if (key == "shape" && !shape) {
        shape = tuple();
      } else {
        fail(file_, "its header has '" + key + "'");
      }
      if (accept(',')) continue;
      expect('}');
      break;
    }
    skip_blanks();
    if (at_ != text_.size()) fail(file_, "its header goes on behind the dictionary");
    if (!type || !fortran || !shape) fail(file_, "its header lacks descr, fortran_order or shape");
    return {*type, *fortran, *shape};
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char c) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(file_, std::string("its header lacks a '") + c + "'");
  }
  std::string string() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : ' ';
    if (quote != '\'' && quote != '"') fail(file_, "its header lacks a string");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail(file_, "a string of its header doesn't end");
    const std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    skip_blanks();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    fail(file_, "fortran_order is neither True nor False");
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> values;
    expect('(');
    while (!accept(')')) {
      if (values.size() == kMaxAxes) fail(file_, "it has more than 8 axes");
      values.push_back(number());
      if (accept(',')) continue;
      expect(')');
      break;
    }
    return values;
  }
  std::int64_t number() {
    skip_blanks();
    std::int64_t value = 0;
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const int digit = text_[at_] - '0';
      if (value > (std::numeric_limits<std::int64_t>::max() - digit) / 10) {
        fail(file_, "an extent is too large");
      }
      value = value * 10 + digit;
    }
    if (at_ == begin) fail(file_, "its shape lacks a number");
    return value;
  }

  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0;
};

/// Values that a shape takes; no more than `most`.
std::size_t count_of(const std::vector<std::int64_t>& shape, std::size_t most,
                     const std::string& file) {
  for (const std::int64_t extent : shape) {
    if (extent == 0) return 0;
  }
  std::size_t count = 1;
  for (const std::int64_t extent : shape) {
    if (std::size_t(extent) > most / count) fail(file, "it is shorter than its shape says");
    count *= std::size_t(extent);
  }
  return count;
}

}  // namespace

template <class T>
NpyArray<T> parse_npy(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (all.size() < 10 || all.substr(0, 6) != kMagic) {
    const std::string kind = kind_text(bytes, "an .npy array");
    if (!kind.empty()) throw std::runtime_error(name + ": " + kind);
    fail(name, "it doesn't begin like one");
  }
  const int version = static_cast<unsigned char>(all[6]);
  if (version < 1 || version > 3 || all[7] != 0) {
    fail(name, "its version is " + std::to_string(version) + "." +
                   std::to_string(static_cast<unsigned char>(all[7])) + ", not 1.0 to 3.0");
  }
  const std::size_t length_bytes = version == 1 ? 2 : 4, begin = 8 + length_bytes;
  if (all.size() < begin) fail(name, "it ends within its header");
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) {
    length |= std::size_t(static_cast<unsigned char>(all[8 + i])) << (8 * i);
  }
  if (length > kMaxHeader || length > all.size() - begin) fail(name, "it ends within its header");
  const Header header = HeaderParser(all.substr(begin, length), name).parse();
  if (header.descr != descr<T>()) {
    fail(name, "its values are '" + header.descr + "', but should be '" + std::string(descr<T>()) +
                   "' (array.astype changes them)");
  }
  const std::string_view data = all.substr(begin + length);
  const std::size_t count = count_of(header.shape, data.size() / sizeof(T), name);
  if (data.size() != count * sizeof(T)) {
    fail(name, std::to_string(data.size()) + " bytes of data, but its shape takes " +
                   std::to_string(count * sizeof(T)));
  }
  if (header.fortran_order && header.shape.size() > 1)
    fail(name, "it is in Fortran order (numpy.ascontiguousarray changes it)");
  NpyArray<T> array{header.shape, std::vector<T>(count)};
  if (count > 0) std::memcpy(array.values.data(), data.data(), data.size());
  return array;
}

template <class T>
NpyArray<T> read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_npy<T>(file.bytes(), path.string());
}

template <class T>
void write_npy(const std::filesystem::path& path, std::span<const std::int64_t> shape,
               std::span<const T> values) {
  std::string header =
      "{'descr': '" + std::string(descr<T>()) + "', 'fortran_order': False, 'shape': (";
  std::size_t count = 1;
  for (const std::int64_t extent : shape) {
    header += std::to_string(extent) + ", ";
    count *= std::size_t(extent);
  }
  HH_PRECONDITION(count == values.size(),
                  path.string() << ": " << values.size() << " values in a shape of " << count);
  if (shape.size() > 1) header.resize(header.size() - 2);  // one axis keeps the comma: (3,)
  header += "), }";
  // The data begins on a multiple of 64 bytes; the header ends with a line feed.
  const std::size_t begin = (10 + header.size() + 1 + 63) / 64 * 64;
  header.resize(begin - 11, ' ');
  header += '\n';
  AtomicFile file(path);
  file.write(kMagic);
  const char version_and_length[] = {1, 0, char(header.size() & 0xff), char(header.size() >> 8)};
  file.write(version_and_length, sizeof version_and_length);
  file.write(header);
  file.write(values.data(), values.size_bytes());
  file.commit();
}

#define HH_NPY(T)                                                                                 \
  template NpyArray<T> parse_npy(std::span<const std::byte> bytes, const std::string& name);      \
  template NpyArray<T> read_npy(const std::filesystem::path& path);                               \
  template void write_npy(const std::filesystem::path& path, std::span<const std::int64_t> shape, \
                          std::span<const T> values);
HH_NPY(std::uint8_t)
HH_NPY(std::int32_t)
HH_NPY(std::int64_t)
HH_NPY(float)
#undef HH_NPY

}  // namespace hh::retrieval
