// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/communicator.h"

#include <catch2/catch.hpp>
#include <string>

#include "engine/distributed/ranks.h"

namespace hh {
namespace {

/// What rank r has as element i.
float value(int rank, std::size_t i) { return float(1000 * rank) + float(i); }
std::vector<float> values(int rank, std::size_t count) {
  std::vector<float> made(count);
  for (std::size_t i = 0; i < count; ++i) made[i] = value(rank, i);
  return made;
}

TEST_CASE("each rank has a place of its own", "[communicator]") {
  Communicator& all = ranks();
  CHECK(all.device() == kCpu);
  CHECK_FALSE(all.name().empty());
  std::vector<std::int64_t> own{all.rank(), all.local_rank()};
  const std::vector<std::int64_t> places = all.gather(std::span<const std::int64_t>(own));
  REQUIRE(places.size() == 2 * std::size_t(all.size()));
  for (int r = 0; r < all.size(); ++r) CHECK(places[2 * std::size_t(r)] == r);
  CHECK(all.local_rank() < all.local_size());
  all.barrier();
}

TEST_CASE("all_gather puts what each rank gave in order of the ranks", "[communicator]") {
  Communicator& all = ranks();
  const std::size_t count = GENERATE(0u, 1u, 7u, 100'000u);
  const std::vector<float> own = values(all.rank(), count);
  std::vector<float> got(count * std::size_t(all.size()), -1), in_place = got;
  all.all_gather(own.data(), got.data(), count * sizeof(float));
  const auto row = std::ptrdiff_t(count) * all.rank();
  std::copy(own.begin(), own.end(), in_place.begin() + row);
  all.all_gather(in_place.data() + row, in_place.data(), count * sizeof(float));
  std::vector<float> want;
  for (int r = 0; r < all.size(); ++r) {
    for (const float v : values(r, count)) want.push_back(v);
  }
  CHECK(got == want);
  CHECK(in_place == want);
}

/// Parts of different sizes, of which the last but one is empty; elements 0 and behind the last are
/// nobody's.
std::vector<Part> parts_of(int size) {
  std::vector<Part> parts;
  std::size_t begin = 1;
  for (int r = 0; r < size; ++r) {
    const std::size_t count = r == size - 2 ? 0 : 3 + std::size_t(r);
    parts.push_back({begin * sizeof(float), count * sizeof(float)});
    begin += count;
  }
  return parts;
}
constexpr std::size_t kElements = 100;

TEST_CASE("all_gather of parts fills in the others'", "[communicator]") {
  Communicator& all = ranks();
  const std::vector<Part> parts = parts_of(all.size());
  std::vector<float> data = values(all.rank(), kElements);
  std::vector<float> want = data;
  for (int r = 0; r < all.size(); ++r) {
    const Part& part = parts[std::size_t(r)];
    for (std::size_t i = 0; i < part.bytes / sizeof(float); ++i) {
      const std::size_t at = part.begin / sizeof(float) + i;
      want[at] = value(r, at);
    }
  }
  all.all_gather(data.data(), parts);
  CHECK(data == want);
}

TEST_CASE("all_to_all gives each rank its part of everybody's array", "[communicator]") {
  Communicator& all = ranks();
  const std::vector<Part> parts = parts_of(all.size());
  const std::vector<float> data = values(all.rank(), kElements);
  const Part& own = parts[std::size_t(all.rank())];
  const std::size_t count = own.bytes / sizeof(float);
  std::vector<float> got(count * std::size_t(all.size()) + 1, -1);  // the last is nobody's
  std::vector<float> want = got;
  for (int r = 0; r < all.size(); ++r) {
    for (std::size_t i = 0; i < count; ++i) {
      want[std::size_t(r) * count + i] = value(r, own.begin / sizeof(float) + i);
    }
  }
  all.all_to_all(data.data(), got.data(), parts);
  CHECK(got == want);
}

TEST_CASE("all_reduce and broadcast", "[communicator]") {
  Communicator& all = ranks();
  const std::int64_t n = all.size(), rank = all.rank(), big = std::int64_t{1} << 60;
  std::vector<std::int64_t> sums{rank, big * (rank == 0), 1}, most{-rank, rank, big - rank};
  std::vector<double> f64{0.5 * double(rank), 1};
  all.all_reduce(sums.data(), sums.size(), Reduction::kSumI64);
  all.all_reduce(most.data(), most.size(), Reduction::kMaxI64);
  all.all_reduce(f64.data(), f64.size(), Reduction::kSumF64);
  CHECK(sums == std::vector<std::int64_t>{n * (n - 1) / 2, big, n});
  CHECK(most == std::vector<std::int64_t>{0, n - 1, big});
  CHECK(f64 == std::vector<double>{0.25 * double(n * (n - 1)), double(n)});
  for (int root = 0; root < all.size(); ++root) {
    std::vector<float> data = values(all.rank(), 5);
    all.broadcast(data.data(), data.size() * sizeof(float), root);
    CHECK(data == values(root, 5));
  }
  CHECK(all.largest(7 - rank) == 7);
}

TEST_CASE("values of the host may be of different lengths", "[communicator]") {
  Communicator& all = ranks();
  const std::string own(std::size_t(3 * all.rank()), char('a' + all.rank()));
  const auto texts = all.gather(std::as_bytes(std::span(own)));
  REQUIRE(texts.size() == std::size_t(all.size()));
  for (int r = 0; r < all.size(); ++r) {
    const auto& text = texts[std::size_t(r)];
    CHECK(text.size() == std::size_t(3 * r));
    for (const std::byte b : text) CHECK(char(b) == char('a' + r));
  }
  for (const auto& none : all.gather(std::span<const std::byte>())) CHECK(none.empty());
}

TEST_CASE("what a message can't hold is refused before it is sent", "[communicator]") {
  Communicator& all = ranks();
  const std::size_t most = std::size_t{1} << 31;
  char none = 0;
  CHECK_THROWS_WITH(all.all_gather(&none, &none, most), Catch::Contains("2147483648 bytes"));
  CHECK_THROWS_WITH(all.broadcast(&none, 1, all.size()), Catch::Contains("a broadcast of rank"));
  const std::vector<Part> few(std::size_t(all.size()) - 1);
  CHECK_THROWS_WITH(all.all_gather(&none, few), Catch::Contains("parts for"));
}

}  // namespace
}  // namespace hh
