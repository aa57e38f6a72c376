// SPDX-License-Identifier: Apache-2.0
#include "engine/device/tuning/product_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "engine/files/file.h"
#include "engine/files/xxh64.h"

namespace hh {
namespace {

constexpr std::size_t kMostBytes = std::size_t{4} << 20;  // of 10,000 products and more

std::string head(const ProductLibrary& library) {
  return fmt::format("hybridhash products 1\ngpu {}\ndriver {}\ncublaslt {}\n", library.gpu,
                     library.driver, library.version);
}

std::string sum_line(std::string_view before) {
  Xxh64 sum;
  sum.update(before);
  return "sum " + xxh64_text(sum.value()) + "\n";
}

bool parse_time(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value) &&
         value > 0;
}

/// A line's four fields, into the table.
bool parse_line(std::string_view line, ProductTable& products) {
  std::array<std::string_view, 4> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t tab = line.find('\t');
    if ((tab == std::string_view::npos) != (i + 1 == fields.size())) return false;
    fields[i] = line.substr(0, tab);
    line.remove_prefix(std::min(line.size(), fields[i].size() + 1));
  }
  TimedProduct product{.algorithm = std::string(fields[1])};
  if (fields[0].empty() || fields[1].empty() || !parse_time(fields[2], product.us) ||
      !parse_time(fields[3], product.first_us)) {
    return false;
  }
  return products.emplace(fields[0], std::move(product)).second;
}

}  // namespace

std::filesystem::path product_file(const std::filesystem::path& folder,
                                   const ProductLibrary& library) {
  std::string gpu = library.gpu.substr(0, 64);
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  std::replace_if(
      gpu.begin(), gpu.end(), [&](char c) { return !plain(c); }, '-');
  return folder /
         fmt::format("{}-driver-{}-cublaslt-{}.products", gpu, library.driver, library.version);
}

ProductTable read_products(const std::filesystem::path& path, const ProductLibrary& library) {
  if (!std::filesystem::exists(path)) return {};
  const std::vector<std::uint8_t> bytes = read_file(path, kMostBytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto refuse = [&](const char* why) {
    throw std::runtime_error(path.string() + ": " + why);
  };
  if (!text.starts_with("hybridhash products ")) refuse("it is no file of timed products");
  const std::size_t end = text.rfind("sum ");
  if (end == std::string_view::npos || text.substr(end) != sum_line(text.substr(0, end))) {
    refuse("it is cut short or was changed");
  }
  const std::string begin = head(library);
  if (!text.starts_with(begin)) refuse("it is of another GPU, driver, cuBLASLt or program");
  ProductTable products;
  for (std::size_t at = begin.size(); at < end;) {
    const std::size_t stop = std::min(text.find('\n', at), end);
    if (!parse_line(text.substr(at, stop - at), products)) refuse("a line of it is no product");
    at = stop + 1;
  }
  return products;
}

void write_products(const std::filesystem::path& path, const ProductLibrary& library,
                    const ProductTable& products) {
  std::string text = head(library);
  for (const auto& [product, timed] : products) {
    text += fmt::format("{}\t{}\t{:.2f}\t{:.2f}\n", product, timed.algorithm,
                        std::max(timed.us, .01), std::max(timed.first_us, .01));
  }
  // A pipe would take the text when somebody reads it.
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) {
    throw std::runtime_error(path.string() + ": it is no regular file: remove it");
  }
  write_file_atomically(path, text + sum_line(text));
}

}  // namespace hh
