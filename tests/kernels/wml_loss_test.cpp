// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/wml_loss.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "kernels/core/parallel.h"
#include "kernels/loss/bank_update.h"
#include "tests/support/device.h"
#include "tests/support/goldens.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::Worst;
constexpr double kUnit = testing::unit<float>();

template <class T>
struct Problem {
  int images;
  std::int64_t rows;
  int bits, words;
  float alpha;
  std::vector<float> u;
  std::vector<T> bank;
  std::vector<std::uint64_t> labels, bank_labels;

  double code(std::size_t i, std::size_t k) const { return u[i * std::size_t(bits) + k]; }
  double stored(std::size_t j, std::size_t k) const {
    return to_float(bank[j * std::size_t(bits) + k]);
  }
  bool similar(std::size_t i, std::size_t j) const {
    const std::size_t w = std::size_t(words);
    std::uint64_t shared = 0;
    for (std::size_t n = 0; n < w; ++n) shared |= labels[i * w + n] & bank_labels[j * w + n];
    return shared != 0;
  }
};

/// Each item gets `count` random classes (the same one may come twice).
std::vector<std::uint64_t> random_labels(std::size_t items, int classes, int count,
                                         std::uint64_t seed) {
  const Philox random(seed, RandomPurpose::kTest);
  const std::size_t words = std::size_t(classes + 63) / 64;
  std::vector<std::uint64_t> labels(items * words);
  for (std::size_t i = 0; i < items * std::size_t(count); ++i) {
    const std::uint32_t c = random.below(i, std::uint32_t(classes));
    labels[i / std::size_t(count) * words + c / 64] |= std::uint64_t{1} << (c % 64);
  }
  return labels;
}

/// Codes like tanh's, a bank of which every fourth row was never seen.
template <class T>
Problem<T> random_problem(int images, std::int64_t rows, int bits, int classes, int count,
                          float alpha) {
  Problem<T> p{images, rows, bits, (classes + 63) / 64, alpha, {}, {}, {}, {}};
  const std::size_t b = std::size_t(images), m = std::size_t(rows), k = std::size_t(bits);
  for (const float x : normal(b * k, 1)) p.u.push_back(std::tanh(x));
  for (const float x : normal(m * k, 2)) p.bank.push_back(from_float<T>(std::tanh(x)));
  p.labels = random_labels(b, classes, count, 3);
  p.bank_labels = random_labels(m, classes, count, 4);
  const std::size_t w = std::size_t(p.words);
  for (std::size_t j = 3; j < m; j += 4) {
    std::fill_n(p.bank.begin() + std::ptrdiff_t(j * k), k, T{});
    std::fill_n(p.bank_labels.begin() + std::ptrdiff_t(j * w), w, 0);
  }
  return p;
}

struct Result {
  float loss;
  std::vector<std::int64_t> pairs;
  std::vector<float> du;
};

template <class T>
Result run(Device device, const Problem<T>& p, bool gradient = true) {
  const Array u(device, p.u), du(device, std::vector<float>(p.u.size(), NAN));
  const Array labels(device, p.labels), bank_labels(device, p.bank_labels);
  const Array bank(device, p.bank);
  const Array loss(device, std::vector<float>{NAN});
  const Array pairs(device, std::vector<std::int64_t>{-1, -1});
  testing::run(device, WmlLoss<T>{.u = u.data(),
                                  .labels = labels.data(),
                                  .bank = bank.data(),
                                  .bank_labels = bank_labels.data(),
                                  .loss = loss.data(),
                                  .pairs = pairs.data(),
                                  .du = gradient ? du.data() : nullptr,
                                  .images = p.images,
                                  .bank_rows = p.rows,
                                  .bits = p.bits,
                                  .label_words = p.words,
                                  .alpha = p.alpha});
  return {loss.host()[0], pairs.host(), du.host()};
}

/// The definition in float64 and, beside each result, a bound on the error of float32.
struct Reference {
  double loss = 0, loss_bound = 0;
  std::int64_t pairs[2] = {0, 0};
  std::vector<double> du, du_bound;
};

/// The bounds: theta is a sum of K products of rounded factors, off by at most (K + 2) units of the
/// sum of their magnitudes. l follows theta with slope at most 1 and sigmoid with slope at most
/// 1/4; each is itself good to a few units (exp 4, log1p 4, sums over a row of images 16, others 4:
/// 32 are granted). du adds up in float32 over a part of the bank, at most a 32nd and a tile of 48
/// rows, which costs a unit of the sum of magnitudes per row.
template <class T>
Reference reference(const Problem<T>& p) {
  const std::size_t b = std::size_t(p.images), m = std::size_t(p.rows), bits = std::size_t(p.bits);
  Reference r;
  r.du.resize(b * bits);
  r.du_bound.resize(b * bits);
  for (std::size_t i = 0; i < b; ++i) {
    for (std::size_t j = 0; j < m; ++j) ++r.pairs[p.similar(i, j) ? 0 : 1];
  }
  for (std::size_t i = 0; i < b; ++i) {
    for (std::size_t j = 0; j < m; ++j) {
      double theta = 0, magnitude = 0;
      for (std::size_t k = 0; k < bits; ++k) {
        const double product = double(p.alpha) * p.code(i, k) * p.stored(j, k);
        theta += product;
        magnitude += std::abs(product);
      }
      const bool s = p.similar(i, j);
      const double weight = 1 / double(r.pairs[s ? 0 : 1]);
      const double theta_bound = double(p.bits + 2) * kUnit * magnitude;
      const double e = std::exp(-std::abs(theta));
      const double l = std::log1p(e) + std::max(s ? -theta : theta, 0.0);
      double slope = (theta > 0 ? 1 : e) / (1 + e) - (s ? 1 : 0);
      if (s) slope = -(theta < 0 ? 1 : e) / (1 + e);  // the same without cancellation
      if (theta == 0) slope = s ? 0 : 1;              // PyTorch's choice at the kink
      r.loss += weight * l;
      r.loss_bound += weight * (theta_bound + 32 * kUnit * l);
      const double slope_bound = theta_bound / 4 + 32 * kUnit * std::abs(slope) + 0x1p-126;
      for (std::size_t k = 0; k < bits; ++k) {
        const double scaled = double(p.alpha) * weight * p.stored(j, k);
        const double terms = std::min(double(m), double(m) / 32 + 48);
        r.du[i * bits + k] += scaled * slope;
        r.du_bound[i * bits + k] +=
            std::abs(scaled) * (slope_bound + (terms + 4) * kUnit * std::abs(slope));
      }
    }
  }
  r.loss_bound += kUnit * r.loss;
  return r;
}

void check(const Result& got, const Reference& want) {
  REQUIRE(got.pairs[0] == want.pairs[0]);
  REQUIRE(got.pairs[1] == want.pairs[1]);
  CAPTURE(got.loss, want.loss);
  REQUIRE(std::abs(got.loss - want.loss) <= want.loss_bound);
  Worst worst;
  for (std::size_t i = 0; i < want.du.size(); ++i) {
    worst.see(got.du[i] - want.du[i], want.du_bound[i], i);
  }
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

struct Sizes {
  int images;
  std::int64_t rows;
  int bits, classes, count;
};

TEMPLATE_TEST_CASE("wml_loss agrees with its definition", "[loss]", float, f16, bf16) {
  const Device device = GENERATE(from_range(testing::devices()));
  // Around the limits of the CPU kernel: blocks of 16, 32 and 64 images, tiles of 48, 24 and 12
  // rows, chunks of one tile and of two, rows of bits past a vector, words past a group of 16.
  const Sizes s = GENERATE(
      Sizes{1, 1, 1, 1, 1}, Sizes{9, 50, 5, 3, 1}, Sizes{1, 1, 8, 1, 1}, Sizes{1, 47, 16, 10, 1},
      Sizes{4, 48, 48, 10, 1}, Sizes{16, 49, 33, 64, 1}, Sizes{17, 95, 32, 65, 2},
      Sizes{32, 12, 64, 100, 1}, Sizes{33, 97, 64, 81, 3}, Sizes{65, 50, 17, 21, 2},
      Sizes{130, 31, 12, 100, 1}, Sizes{3, 1600, 16, 100, 1}, Sizes{2, 26, 133, 100, 4},
      Sizes{2, 30, 257, 128, 40}, Sizes{2, 13, 512, 1100, 300}, Sizes{3, 40, 16, 2000, 40});
  const float alpha = GENERATE(0.5f, 1.0f);
  CAPTURE(device, s.images, s.rows, s.bits, s.classes, alpha);
  const auto p = random_problem<TestType>(s.images, s.rows, s.bits, s.classes, s.count, alpha);
  cpu::set_num_threads(1);
  const Result one = run(device, p);
  cpu::set_num_threads(3);
  const Result three = run(device, p), only_loss = run(device, p, false);
  cpu::set_num_threads(0);
  check(one, reference(p));
  REQUIRE(three.loss == one.loss);
  REQUIRE(three.du == one.du);
  REQUIRE(only_loss.loss == one.loss);
  REQUIRE(only_loss.pairs == one.pairs);
}

TEST_CASE("wml_loss: chunks of several tiles, and more chunks than a GPU has multiprocessors",
          "[loss]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const Sizes s = GENERATE(Sizes{2, 16500, 8, 10, 1}, Sizes{390, 2700, 8, 10, 1});
  CAPTURE(device, s.images, s.rows);
  const auto p = random_problem<bf16>(s.images, s.rows, s.bits, s.classes, s.count, 0.5f);
  check(run(device, p), reference(p));
}

TEST_CASE("wml_loss: codes far apart saturate without overflow", "[loss]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // theta = +-512 and +-511: exp(512) isn't a float32.
  Problem<float> p{2,
                   4,
                   512,
                   1,
                   1.0f,
                   std::vector<float>(1024, 1.0f),
                   std::vector<float>(2048, 1.0f),
                   {1, 2},
                   {1, 2, 1, 2}};
  p.u[0] = 0.5f;
  std::fill_n(p.bank.begin(), 1024, -1.0f);
  const Result got = run(device, p);
  check(got, reference(p));
  REQUIRE(got.loss > 500);
}

TEST_CASE("wml_loss: where theta is 0 the derivative is 1 - s", "[loss]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int images = GENERATE(1, 3);
  // Half of the 8 products are 1 and half -1, whatever the order of the sum.
  Problem<float> p{images, 3, 8, 1, 0.5f, {}, {}, {}, {1, 2, 2}};
  for (int i = 0; i < images * 8; ++i) p.u.push_back(i % 2 == 0 ? 1 : -1);
  p.bank.assign(24, 1.0f);
  p.labels.assign(std::size_t(images), 1);
  const Result got = run(device, p);
  REQUIRE(got.pairs[0] == images);
  REQUIRE(got.loss == Approx(2 * std::log(2.0)).epsilon(4 * kUnit));
  for (const float du : got.du) REQUIRE(du == Approx(0.5 / images).epsilon(4 * kUnit));
  check(got, reference(p));
}

TEST_CASE("wml_loss: one side may be empty, and an unseen bank has no gradient", "[loss]") {
  const Device device = GENERATE(from_range(testing::devices()));
  Problem<f16> p = random_problem<f16>(5, 50, 16, 10, 1, 0.5f);
  SECTION("all similar") {
    p.labels.assign(p.labels.size(), 4);
    p.bank_labels.assign(p.bank_labels.size(), 6);
    const Result got = run(device, p);
    REQUIRE(got.pairs == std::vector<std::int64_t>{250, 0});
    check(got, reference(p));
  }
  SECTION("all dissimilar") {
    p.bank_labels.assign(p.bank_labels.size(), 1 << 10);
    const Result got = run(device, p);
    REQUIRE(got.pairs == std::vector<std::int64_t>{0, 250});
    check(got, reference(p));
  }
  SECTION("nothing seen yet") {
    p.bank.assign(p.bank.size(), f16{});
    p.bank_labels.assign(p.bank_labels.size(), 0);
    const Result got = run(device, p);
    REQUIRE(got.loss == Approx(std::log(2.0)).epsilon(4 * kUnit));
    REQUIRE(got.du == std::vector<float>(p.u.size(), 0.0f));
  }
}

TEST_CASE("wml_loss: a code that isn't finite shows in the loss and the gradient", "[loss]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const float bad = GENERATE(NAN, INFINITY);
  Problem<float> p = random_problem<float>(3, 20, 16, 10, 1, 0.5f);
  p.u[16 + 5] = bad;
  const Result got = run(device, p);
  REQUIRE_FALSE(std::isfinite(got.loss));
  REQUIRE(std::isfinite(got.du[0]));
  REQUIRE(std::isnan(got.du[16]));
}

TEST_CASE("wml_loss: the gradient agrees with differences of the loss", "[loss]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const Problem<float> p = random_problem<float>(3, 30, 16, 10, 2, 0.5f);
  const Result got = run(device, p);
  // The loss alone, of codes in float64.
  std::vector<double> u(p.u.begin(), p.u.end());
  const auto loss = [&] {
    double sum[2] = {0, 0}, pairs[2] = {0, 0};
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t j = 0; j < 30; ++j) {
        double theta = 0;
        for (std::size_t k = 0; k < 16; ++k) theta += 0.5 * u[i * 16 + k] * p.stored(j, k);
        const bool s = p.similar(i, j);
        sum[s] += std::log1p(std::exp(theta)) - s * theta;
        pairs[s] += 1;
      }
    }
    return sum[0] / pairs[0] + sum[1] / pairs[1];
  };
  const std::vector<double> bound = reference(p).du_bound;
  const double h = 1e-4;
  Worst worst;
  for (std::size_t i = 0; i < u.size(); ++i) {
    const double at = u[i];
    u[i] = at + h;
    const double up = loss();
    u[i] = at - h;
    const double down = loss();
    u[i] = at;
    // Central differences err by h^2/6 of a third derivative, here below 1/8, and by 1e-16 / h.
    worst.see(got.du[i] - (up - down) / (2 * h), bound[i] + h * h / 48 + 4e-12, i);
  }
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

/// Rows of 0 and 1 to packed labels.
std::vector<std::uint64_t> packed(const std::vector<float>& rows, std::size_t classes) {
  const std::size_t words = (classes + 63) / 64, items = rows.size() / classes;
  std::vector<std::uint64_t> labels(items * words);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == 0) continue;
    const std::size_t c = i % classes;
    labels[i / classes * words + c / 64] |= std::uint64_t{1} << (c % 64);
  }
  return labels;
}

template <class T>
void check_golden(const SafetensorsFile& file, const nlohmann::json& about,
                  const std::string& suffix) {
  const std::string name = about.at("config").at("name");
  CAPTURE(name, suffix);
  const auto& shape = file.entry(name + ".u").shape;
  const std::size_t classes = std::size_t(file.entry(name + ".y").shape[1]);
  Problem<T> p{.images = int(shape[0]),
               .rows = file.entry(name + ".U").shape[0],
               .bits = int(shape[1]),
               .words = int(classes + 63) / 64,
               .alpha = about.at("config").at("alpha"),
               .u = file.to_floats(name + ".u"),
               .labels = packed(file.to_floats(name + ".y"), classes),
               .bank_labels = packed(file.to_floats(name + ".Y"), classes)};
  for (const float x : file.to_floats(name + ".U")) p.bank.push_back(from_float<T>(x));
  const std::vector<std::int64_t> index = file.to_int64s(name + ".ind");
  testing::run(kCpu, BankUpdate<T>{.u = p.u.data(),
                                   .labels = p.labels.data(),
                                   .index = index.data(),
                                   .bank = p.bank.data(),
                                   .bank_labels = p.bank_labels.data(),
                                   .images = p.images,
                                   .bank_rows = p.rows,
                                   .bits = p.bits,
                                   .label_words = p.words});
  const Result got = run(kCpu, p);
  REQUIRE(got.pairs[0] == about.at("S1"));
  REQUIRE(got.pairs[1] == about.at("S0"));
  // The engine promises 1e-6; PyTorch in float32 is off by up to 2e-7 here.
  const double loss = file.to_doubles(name + ".loss_f64" + suffix)[0];
  REQUIRE(got.loss == Approx(loss).epsilon(1e-6));
  // PyTorch's gradients in float32 are off by up to 4e-7 of the largest element.
  const std::vector<double> du = file.to_doubles(name + ".dLdu_f64" + suffix);
  double largest = 0;
  for (const double x : du) largest = std::max(largest, std::abs(x));
  Worst worst;
  for (std::size_t i = 0; i < du.size(); ++i) worst.see(got.du[i] - du[i], 1e-6 * largest, i);
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

TEST_CASE("wml_loss and bank_update agree with the reference's results", "[loss][goldens]") {
  int cases = 0;
  for (const std::filesystem::path& json_path : testing::golden_cases("loss")) {
    CAPTURE(json_path);
    const auto file =
        SafetensorsFile::open(std::filesystem::path(json_path).replace_extension("safetensors"));
    std::ifstream text(json_path);
    for (const auto& about : nlohmann::json::parse(text)) {
      check_golden<float>(file, about, "");
      check_golden<f16>(file, about, "_halfbank");
      ++cases;
    }
  }
  REQUIRE(cases >= 8);
}

TEST_CASE("wml_loss names what it refuses", "[loss]") {
  const WmlLoss<float> good{.images = 1, .bank_rows = 1, .bits = 16};
  const auto refuses = [](const WmlLoss<float>& p, const char* why) {
    REQUIRE_THROWS_WITH(cpu::run(p), Catch::Contains(why));
    REQUIRE_THROWS_WITH(cpu::workspace_bytes(p), Catch::Contains(why));
  };
  refuses(good, "null");
  WmlLoss<float> p = good;
  p.images = 0;
  refuses(p, "images = 0");
  p = good;
  p.bank_rows = 0;
  refuses(p, "bank_rows = 0");
  p = good;
  p.label_words = 0;
  refuses(p, "label_words = 0");
  p = good;
  p.bits = 0;
  refuses(p, "bits = 0");
  p.bits = 513;
  refuses(p, "bits = 513");
}

}  // namespace
}  // namespace hh
