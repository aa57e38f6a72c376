// SPDX-License-Identifier: Apache-2.0
#include "bench/ladder/problems.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/label_bits.h"
#include "tests/support/gelu.h"

namespace hh::ladder {
namespace {

using testing::normal, testing::Worst;
using Size = std::size_t;
constexpr float kBefore = 1;  // in gradients that are added to
constexpr double kUnit = testing::unit<float>(), kStored = testing::unit<bf16>();

template <class T>
Tensor array(Device device, const std::vector<T>& values) {
  return Tensor::from(values, {std::int64_t(values.size())}, device);
}
template <class T>
void fill_nan(const Tensor& to) {
  const std::vector<T> values(Size(to.count()), from_float<T>(NAN));
  to.copy_from(std::span<const T>(values));
}
template <class T>
std::vector<double> wide(const Tensor& from) {
  std::vector<double> values;
  for (const T v : from.to_host<T>()) values.push_back(to_float(v));
  return values;
}
std::string joined(std::initializer_list<std::int64_t> extents) {
  std::string text;
  for (const std::int64_t n : extents) text += (text.empty() ? "" : "x") + std::to_string(n);
  return text;
}

}  // namespace

// A mean of 30 at a deviation of about 1: E[z^2] - E[z]^2 would lose most of its digits.
LayerNormProblem::LayerNormProblem(Device device, int images, int rows_per_image, int cols) {
  const Size rows = Size(images) * Size(rows_per_image), n = rows * Size(cols);
  residual_ = array(device, normal<bf16>(n, 1, 30));
  branch_ = array(device, normal<bf16>(n, 2));
  bias_ = array(device, normal(Size(cols), 3));
  scale_ = array(device, normal(Size(images), 4));
  gamma_ = array(device, normal(Size(cols), 5, 1, 0.2f));
  beta_ = array(device, normal(Size(cols), 6));
  z_ = Tensor({std::int64_t(n)}, DType::bf16, device);
  y_ = Tensor({std::int64_t(n)}, DType::bf16, device);
  mean_ = Tensor({std::int64_t(rows)}, DType::f32, device);
  rstd_ = Tensor({std::int64_t(rows)}, DType::f32, device);
  args = {.residual = residual_.data<bf16>(),
          .branch = branch_.data<bf16>(),
          .bias = bias_.data<float>(),
          .image_scale = scale_.data<float>(),
          .gamma = gamma_.data<float>(),
          .beta = beta_.data<float>(),
          .z = z_.data<bf16>(),
          .y = y_.data<bf16>(),
          .mean = mean_.data<float>(),
          .rstd = rstd_.data<float>(),
          .rows = std::int64_t(rows),
          .rows_per_image = rows_per_image,
          .cols = cols};
}

void LayerNormProblem::clear() const {
  fill_nan<bf16>(z_);
  fill_nan<bf16>(y_);
  fill_nan<float>(mean_);
  fill_nan<float>(rstd_);
}

// z is three float32 operations and a rounding to bf16. The statistics are those of the stored z. A
// float32 sum of C numbers in any order errs by C units of the sum of magnitudes, so the mean by d
// = (C + 2) units of the mean magnitude. That shifts every deviation, and the mean square by d^2;
// its own sum errs by C units and a few. rstd halves relative errors. y is three operations more.
Worst LayerNormProblem::check() const {
  const auto residual = wide<bf16>(residual_), branch = wide<bf16>(branch_), z = wide<bf16>(z_),
             y = wide<bf16>(y_);
  const auto bias = wide<float>(bias_), scale = wide<float>(scale_), gamma = wide<float>(gamma_),
             beta = wide<float>(beta_), mean = wide<float>(mean_), rstd = wide<float>(rstd_);
  const Size cols = Size(args.cols);
  const double count = double(cols);
  Worst worst;
  for (Size r = 0; r < mean.size(); ++r) {
    const Size at = r * cols;
    const double s = scale[r / Size(args.rows_per_image)];
    double sum = 0, magnitude = 0, squares = 0;
    for (Size c = 0; c < cols; ++c) {
      const double exact = residual[at + c] + s * (branch[at + c] + bias[c]);
      const double terms =
          std::abs(residual[at + c]) + std::abs(s) * (std::abs(branch[at + c]) + std::abs(bias[c]));
      worst.see(z[at + c] - exact, 4 * kUnit * terms + kStored * std::abs(exact), at + c);
      sum += z[at + c];
      magnitude += std::abs(z[at + c]);
    }
    const double exact_mean = sum / count, d = (count + 2) * kUnit * magnitude / count;
    for (Size c = 0; c < cols; ++c) squares += std::pow(z[at + c] - exact_mean, 2);
    const double variance = squares / count + double(args.eps),
                 exact_rstd = 1 / std::sqrt(variance);
    const double relative = ((count + 8) * kUnit + d * d / variance) / 2 + 4 * kUnit;
    worst.see(mean[r] - exact_mean, d, r);
    worst.see(rstd[r] - exact_rstd, relative * exact_rstd, r);
    for (Size c = 0; c < cols; ++c) {
      const double h = (z[at + c] - exact_mean) * exact_rstd, exact = h * gamma[c] + beta[c];
      const double error =
          std::abs(gamma[c]) * (d * exact_rstd + std::abs(h) * (relative + 4 * kUnit)) +
          2 * kUnit * (std::abs(h * gamma[c]) + std::abs(beta[c]));
      worst.see(y[at + c] - exact, error + kStored * (std::abs(exact) + error), at + c);
    }
  }
  return worst;
}

double LayerNormProblem::bytes() const {
  return 4.0 * double(z_.bytes()) + 2.0 * double(mean_.bytes());
}
std::string LayerNormProblem::shape() const { return joined({args.rows, args.cols}); }

// A mean of 30 at a deviation of about 1, as above. The statistics are inputs, so they needn't be
// exact.
LayerNormBackwardProblem::LayerNormBackwardProblem(Device device, int images, int rows_per_image,
                                                   int cols) {
  const Size rows = Size(images) * Size(rows_per_image), n = rows * Size(cols);
  dz_ = array(device, normal<bf16>(n, 1));
  dy_ = array(device, normal<bf16>(n, 2));
  z_ = array(device, normal<bf16>(n, 3, 30));
  scale_ = array(device, normal(Size(images), 4));
  gamma_ = array(device, normal(Size(cols), 5, 1, 0.2f));
  mean_ = array(device, normal(rows, 6, 30, 0.1f));
  rstd_ = array(device, normal(rows, 7, 1, 0.1f));
  dresidual_ = Tensor({std::int64_t(n)}, DType::bf16, device);
  dbranch_ = Tensor({std::int64_t(n)}, DType::bf16, device);
  for (Tensor* t : {&dgamma_, &dbeta_, &dbias_}) *t = Tensor::zeros({cols}, DType::f32, device);
  args = {.dz = dz_.data<bf16>(),
          .dy = dy_.data<bf16>(),
          .z = z_.data<bf16>(),
          .image_scale = scale_.data<float>(),
          .gamma = gamma_.data<float>(),
          .mean = mean_.data<float>(),
          .rstd = rstd_.data<float>(),
          .dresidual = dresidual_.data<bf16>(),
          .dbranch = dbranch_.data<bf16>(),
          .dbias = dbias_.data<float>(),
          .dgamma = dgamma_.data<float>(),
          .dbeta = dbeta_.data<float>(),
          .rows = std::int64_t(rows),
          .rows_per_image = rows_per_image,
          .cols = cols};
}

void LayerNormBackwardProblem::clear() const {
  fill_nan<bf16>(dresidual_);
  fill_nan<bf16>(dbranch_);
  const std::vector<float> before(Size(args.cols), kBefore);
  for (const Tensor* t : {&dgamma_, &dbeta_, &dbias_}) t->copy_from(std::span<const float>(before));
}

// h errs by 2 units of itself, g by one. The mean of C terms g h, in any order, errs by C + 4 units
// of their mean magnitude; the gradient, five operations more, by C + 12 units of its terms'
// magnitudes. The sums over R rows err by R units of the sum of magnitudes, and by their terms'.
Worst LayerNormBackwardProblem::check() const {
  const auto dz = wide<bf16>(dz_), dy = wide<bf16>(dy_), z = wide<bf16>(z_),
             dresidual = wide<bf16>(dresidual_), dbranch = wide<bf16>(dbranch_);
  const auto scale = wide<float>(scale_), gamma = wide<float>(gamma_), mean = wide<float>(mean_),
             rstd = wide<float>(rstd_);
  const Size cols = Size(args.cols), rows = mean.size();
  const double count = double(cols), each = (count + 12) * kUnit;
  struct Sum {
    std::vector<double> exact, magnitude;
    explicit Sum(Size n) : exact(n, double(kBefore)), magnitude(n, double(kBefore)) {}
    void add(Size c, double term, double size) {
      exact[c] += term;
      magnitude[c] += size;
    }
  } sum_gamma(cols), sum_beta(cols), sum_bias(cols);
  Worst worst;
  for (Size r = 0; r < rows; ++r) {
    const Size at = r * cols;
    const double s = scale[r / Size(args.rows_per_image)];
    const auto h = [&](Size c) { return (z[at + c] - mean[r]) * rstd[r]; };
    const auto g = [&](Size c) { return dy[at + c] * gamma[c]; };
    double g_mean = 0, gh_mean = 0, g_size = 0, gh_size = 0;
    for (Size c = 0; c < cols; ++c) {
      g_mean += g(c) / count;
      gh_mean += g(c) * h(c) / count;
      g_size += std::abs(g(c)) / count;
      gh_size += std::abs(g(c) * h(c)) / count;
    }
    for (Size c = 0; c < cols; ++c) {
      const double exact = dz[at + c] + rstd[r] * (g(c) - g_mean - h(c) * gh_mean);
      const double size = std::abs(dz[at + c]) +
                          std::abs(rstd[r]) * (std::abs(g(c)) + g_size + std::abs(h(c)) * gh_size);
      const double bound = each * size + kStored * (std::abs(exact) + each * size);
      worst.see(dresidual[at + c] - exact, bound, at + c);
      worst.see(dbranch[at + c] - s * exact, std::abs(s) * bound, at + c);
      sum_gamma.add(c, dy[at + c] * h(c), std::abs(dy[at + c] * h(c)));
      sum_beta.add(c, dy[at + c], std::abs(dy[at + c]));
      sum_bias.add(c, s * exact, std::abs(s) * size);
    }
  }
  const auto judge = [&](const Tensor& from, const Sum& sum) {
    const auto found = wide<float>(from);
    for (Size c = 0; c < cols; ++c) {
      worst.see(found[c] - sum.exact[c], (double(rows) * kUnit + each) * sum.magnitude[c], c);
    }
  };
  judge(dgamma_, sum_gamma);
  judge(dbeta_, sum_beta);
  judge(dbias_, sum_bias);
  return worst;
}

double LayerNormBackwardProblem::bytes() const {
  return 5.0 * double(z_.bytes()) + 2.0 * double(mean_.bytes());
}
std::string LayerNormBackwardProblem::shape() const { return joined({args.rows, args.cols}); }

AttentionProblem::AttentionProblem(Device device, const WindowAttentionShape& shape) {
  const Size rows = Size(shape.windows) * Size(shape.tokens), n = rows * Size(shape.channels());
  qkv_ = array(device, normal<bf16>(3 * n, 1, 0, 2));
  out_ = Tensor({std::int64_t(n)}, DType::bf16, device);
  lse_ = Tensor({std::int64_t(rows) * shape.heads}, DType::f32, device);
  args = {.qkv = qkv_.data<bf16>(),
          .out = out_.data<bf16>(),
          .lse = lse_.data<float>(),
          .shape = shape};
}

void AttentionProblem::clear() const {
  fill_nan<bf16>(out_);
  fill_nan<float>(lse_);
}

// A score, a float32 sum of d products, scaled, errs by a = (d + 4) units of the sum of magnitudes.
// exp(s - m) then errs relatively by 2a (m may err as well), by the rounding of the difference and
// of its factor log2(e), 4 units of |s - m|, and by exp itself, 8 units. The rungs that multiply
// partial results by new factors do so at most once a key, which with the sum of N terms is 4N
// units. P is a quotient of two such. As a factor of a tensor-core product it is rounded to bf16;
// the others needn't that.
Worst AttentionProblem::check() const {
  const auto qkv = wide<bf16>(qkv_), out = wide<bf16>(out_), lse = wide<float>(lse_);
  const WindowAttentionShape& s = args.shape;
  const Size n = Size(s.tokens), d = Size(s.head_dim), heads = Size(s.heads), channels = heads * d;
  Worst worst;
  for (Size w = 0; w < Size(s.windows); ++w) {
    for (Size h = 0; h < heads; ++h) {
      const auto at = [&](Size which, Size token, Size e) {
        return qkv[(w * n + token) * 3 * channels + which * channels + h * d + e];
      };
      for (Size a = 0; a < n; ++a) {
        std::vector<double> score(n), error(n);
        for (Size b = 0; b < n; ++b) {
          double magnitude = 0;
          for (Size e = 0; e < d; ++e) {
            score[b] += at(0, a, e) * at(1, b, e) / std::sqrt(double(d));
            magnitude += std::abs(at(0, a, e) * at(1, b, e)) / std::sqrt(double(d));
          }
          error[b] = double(d + 4) * kUnit * magnitude;
        }
        const double top = *std::max_element(score.begin(), score.end());
        const double top_error = *std::max_element(error.begin(), error.end());
        double sum = 0, relative = 0;
        for (const double x : score) sum += std::exp(x - top);
        for (Size b = 0; b < n; ++b) {
          if (std::exp(score[b] - top) / sum < 1e-30) continue;  // nothing, whatever its error
          relative = std::max(relative, error[b] + top_error + 4 * kUnit * (top - score[b]));
        }
        relative += double(4 * n + 8) * kUnit;
        const double exact_lse = top + std::log(sum);
        worst.see(lse[(w * heads + h) * n + a] - exact_lse,
                  relative + top_error + 8 * kUnit * (std::abs(top) + std::log(sum)), a);
        for (Size e = 0; e < d; ++e) {
          double exact = 0, magnitude = 0;
          for (Size b = 0; b < n; ++b) {
            const double term = std::exp(score[b] - top) / sum * at(2, b, e);
            exact += term;
            magnitude += std::abs(term);
          }
          const double bound = magnitude * (2 * relative + kStored);
          const Size index = (w * n + a) * channels + e * heads + h;
          worst.see(out[index] - exact, bound + kStored * (std::abs(exact) + bound), index);
        }
      }
    }
  }
  return worst;
}

double AttentionProblem::bytes() const {
  return double(qkv_.bytes()) + double(out_.bytes()) + double(lse_.bytes());
}
std::string AttentionProblem::shape() const {
  return joined({args.shape.windows, args.shape.tokens, args.shape.heads, args.shape.head_dim});
}

// Products of deviation 2: both tails of GELU and what lies between.
LinearGeluProblem::LinearGeluProblem(Device device, std::int64_t rows, int in, int hidden) {
  const Size n = Size(rows) * Size(hidden);
  x_ = array(device, normal<bf16>(Size(rows) * Size(in), 1));
  weight_ = array(device, normal<bf16>(Size(in) * Size(hidden), 2, 0, 2 / std::sqrt(float(in))));
  bias_ = array(device, normal(Size(hidden), 3));
  pre_ = Tensor({std::int64_t(n)}, DType::bf16, device);
  y_ = Tensor({std::int64_t(n)}, DType::bf16, device);
  args = {.x = x_.data<bf16>(),
          .weight = weight_.data<bf16>(),
          .bias = bias_.data<float>(),
          .pre = pre_.data<bf16>(),
          .y = y_.data<bf16>(),
          .rows = rows,
          .in = in,
          .hidden = hidden,
          .way = LinearGeluWay::kOneKernel};
}

void LinearGeluProblem::clear() const {
  fill_nan<bf16>(pre_);
  fill_nan<bf16>(y_);
}

// A float32 sum of n products in any order errs by n units of the sum of magnitudes; tensor cores
// cut the addends of a step at their largest one's last bit, which is within two units a product
// more. |gelu'| is below 1.13. The library's way rounds the product to bf16 before GELU.
Worst LinearGeluProblem::check() const {
  const auto x = wide<bf16>(x_), weight = wide<bf16>(weight_), pre = wide<bf16>(pre_),
             y = wide<bf16>(y_);
  const auto bias = wide<float>(bias_);
  const Size in = Size(args.in), hidden = Size(args.hidden);
  const double tail = testing::gelu_reference::allowance(x_.device()).tail;
  Worst worst;
  for (Size i = 0; i < pre.size(); ++i) {
    const Size row = i / hidden, col = i % hidden;
    double exact = 0, magnitude = 0;
    for (Size k = 0; k < in; ++k) {
      const double term = x[row * in + k] * weight[col * in + k];
      exact += term;
      magnitude += std::abs(term);
    }
    const testing::Bounded product =
        testing::stored<bf16>({exact, (3 * double(in) + 2) * kUnit * magnitude});
    worst.see(pre[i] - exact, product.bound, i);
    testing::Bounded want = testing::gelu_reference::forward(exact, bias[col], tail);
    want.bound += 1.13 * product.bound;
    want = testing::stored<bf16>(want);
    worst.see(y[i] - want.value, want.bound, i);
  }
  return worst;
}

double LinearGeluProblem::bytes() const {
  return double(x_.bytes()) + double(weight_.bytes()) + double(bias_.bytes()) +
         double(pre_.bytes()) + double(y_.bytes());
}
std::string LinearGeluProblem::shape() const { return joined({args.rows, args.in, args.hidden}); }

LinearGelu LinearGeluProblem::library() const {
  LinearGelu other = args;
  other.way = LinearGeluWay::kTwoLaunches;
  return other;
}

std::vector<std::uint64_t> LossProblem::labels_of(std::int64_t items, std::uint64_t seed,
                                                  int classes) const {
  const Philox random(seed, RandomPurpose::kTest);
  const Size words = Size(args.label_words);
  std::vector<std::uint64_t> labels(Size(items) * words);
  for (Size i = 0; i < Size(items); ++i) {
    set_label(&labels[i * words], int(random.below(i, std::uint32_t(classes))));
  }
  return labels;
}

// Every fourth bank row was never seen: a zero code, at the kink of theta = 0.
LossProblem::LossProblem(Device device, int images, std::int64_t bank_rows, int bits, int classes) {
  args.images = images;
  args.bank_rows = bank_rows;
  args.bits = bits;
  args.label_words = (classes + 63) / 64;
  std::vector<float> u = normal(Size(images) * Size(bits), 1);
  std::vector<float> bank = normal(Size(bank_rows) * Size(bits), 2);
  for (float& x : u) x = std::tanh(x);
  for (float& x : bank) x = std::tanh(x);
  std::vector<std::uint64_t> bank_labels = labels_of(bank_rows, 4, classes);
  const Size words = Size(args.label_words);
  for (Size j = 3; j < Size(bank_rows); j += 4) {
    std::fill_n(bank.begin() + std::ptrdiff_t(j * Size(bits)), bits, 0.0f);
    std::fill_n(bank_labels.begin() + std::ptrdiff_t(j * words), words, 0);
  }
  u_ = array(device, u);
  bank_ = array(device, bank);
  labels_ = array(device, labels_of(images, 3, classes));
  bank_labels_ = array(device, bank_labels);
  loss_ = Tensor({1}, DType::f32, device);
  pairs_ = Tensor({2}, DType::i64, device);
  du_ = Tensor({std::int64_t(u.size())}, DType::f32, device);
  args.u = u_.data<float>();
  args.labels = labels_.data<std::uint64_t>();
  args.bank = bank_.data<float>();
  args.bank_labels = bank_labels_.data<std::uint64_t>();
  args.loss = loss_.data<float>();
  args.pairs = pairs_.data<std::int64_t>();
  args.du = du_.data<float>();
}

void LossProblem::clear() const {
  fill_nan<float>(loss_);
  fill_nan<float>(du_);
  const std::vector<std::int64_t> unwritten{-1, -1};
  pairs_.copy_from(std::span<const std::int64_t>(unwritten));
}

// theta sums K products of rounded factors: (K + 2) units of the sum of magnitudes. l follows theta
// with slope at most 1, sigmoid with at most 1/4; each is itself good to 32 units (exp, log1p,
// sums). du is a float32 sum over the bank, at worst in one piece: M units of its magnitudes.
Worst LossProblem::check() const {
  const auto u = wide<float>(u_), bank = wide<float>(bank_), du = wide<float>(du_);
  const auto labels = labels_.to_host<std::uint64_t>();
  const auto bank_labels = bank_labels_.to_host<std::uint64_t>();
  const auto pairs = pairs_.to_host<std::int64_t>();
  const Size images = Size(args.images), m = Size(args.bank_rows), bits = Size(args.bits),
             words = Size(args.label_words);
  const double alpha = double(args.alpha);
  const auto similar = [&](Size i, Size j) {
    std::int64_t shared = 0;
    for (Size w = 0; w < words; ++w) shared |= labels[i * words + w] & bank_labels[j * words + w];
    return shared != 0;
  };
  std::int64_t counts[2] = {};
  for (Size i = 0; i < images; ++i) {
    for (Size j = 0; j < m; ++j) ++counts[similar(i, j) ? 0 : 1];
  }
  Worst worst;
  for (Size side = 0; side < 2; ++side) worst.see(double(pairs[side] - counts[side]), 0, side);
  std::vector<double> exact(u.size()), bound(u.size());
  double loss = 0, loss_bound = 0;
  for (Size i = 0; i < images; ++i) {
    for (Size j = 0; j < m; ++j) {
      double theta = 0, magnitude = 0;
      for (Size k = 0; k < bits; ++k) {
        const double product = alpha * u[i * bits + k] * bank[j * bits + k];
        theta += product;
        magnitude += std::abs(product);
      }
      const bool s = similar(i, j);
      const double weight = 1 / double(counts[s ? 0 : 1]), x = s ? -theta : theta;
      const double error = double(bits + 2) * kUnit * magnitude, e = std::exp(-std::abs(x));
      const double l = std::log1p(e) + std::max(x, 0.0);
      double slope = (s ? -1 : 1) * (x > 0 ? 1 : e) / (1 + e);
      if (theta == 0) slope = s ? 0 : 1;
      loss += weight * l;
      loss_bound += weight * (error + 32 * kUnit * l);
      for (Size k = 0; k < bits; ++k) {
        const double factor = alpha * weight * bank[j * bits + k];
        exact[i * bits + k] += factor * slope;
        bound[i * bits + k] +=
            std::abs(factor) * (error / 4 + (32 + double(m)) * kUnit * std::abs(slope));
      }
    }
  }
  for (Size i = 0; i < du.size(); ++i) worst.see(du[i] - exact[i], bound[i], i);
  worst.see(double(loss_.to_host<float>()[0]) - loss, loss_bound, 0);
  return worst;
}

double LossProblem::bytes() const {
  return double(u_.bytes()) + double(labels_.bytes()) + double(bank_.bytes()) +
         double(bank_labels_.bytes()) + double(du_.bytes());
}
std::string LossProblem::shape() const { return joined({args.images, args.bank_rows, args.bits}); }

}  // namespace hh::ladder
