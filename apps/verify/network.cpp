// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/verify/cases.h"
#include "apps/verify/ties.h"
#include "engine/ops/blocks.h"
#include "engine/optim/optimizer.h"
#include "engine/tensor/tape.h"
#include "kernels/core/philox.h"
#include "model/hybridhash/hybridhash.h"
#include "model/training/generator.h"
#include "model/training/memory_bank.h"

namespace hh::apps {
namespace {

// Tolerances of docs/specification.md, section 9, relative to the largest magnitude of each tensor.
constexpr double kStageTolerance = 1e-5;
constexpr double kGradientTolerance = 3e-5;
// A gradient whose largest error passes must pass in l2 as well, ten times looser than an element:
// it catches errors spread over a tensor of mostly small values.
constexpr double kGradientL2Tolerance = 3e-4;
// Losses: PyTorch's own float32 is within 3e-7 relative; the pass over the bank may add as much.
constexpr double kLossTolerance = 1e-6;
// bf16 keeps 8 bits: each of the network's roundings moves a value by up to 2^-9 of itself. Between
// input and code some 10 roundings a layer add up like a random walk over L layers, and the logits'
// scale is that of the largest stage: 2^-9 * sqrt(10 L) * 2 for L = 4 is 0.025, L = 19 is 0.054.
// f16 keeps 11 bits: 2^-12 in place of 2^-9.
double half_code_tolerance(DType dtype, int layers) {
  return (dtype == DType::bf16 ? 0x1p-9 : 0x1p-12) * std::sqrt(10.0 * layers) * 2;
}

/// Host copies of all stages, in the reference's axis order.
class StageRecorder final : public Probe {
 public:
  void see(const std::string& stage, const Tensor& value, StageLayout layout) override {
    std::vector<float> values = value.to_host<float>();
    if (layout == StageLayout::kChannelsFirst && value.shape().axes() == 4) {
      values = channels_first(values, value.shape());
    }
    stages[stage] = std::move(values);
  }
  std::map<std::string, std::vector<float>> stages;

 private:
  static std::vector<float> channels_first(const std::vector<float>& from, const Shape& shape) {
    const std::int64_t images = shape[0], area = shape[1] * shape[2], c = shape[3];
    std::vector<float> to(from.size());
    for (std::int64_t b = 0; b < images; ++b) {
      for (std::int64_t p = 0; p < area; ++p) {
        for (std::int64_t k = 0; k < c; ++k) {
          to[std::size_t((b * c + k) * area + p)] = from[std::size_t((b * area + p) * c + k)];
        }
      }
    }
    return to;
  }
};

/// A network with the case's weights, its bank and its batch, on the device.
struct Setup {
  Setup(const HybridHashConfig& config, std::uint64_t seed, Device on, DType type)
      : device(on), dtype(type), network(config, parameters) {
    parameters.place(device, dtype, /*trainable=*/true);
    set_generated_weights(parameters, seed);
  }

  void use_batch(std::vector<float> values, int batch) {
    input = std::move(values);
    const HybridHashConfig& c = network.config();
    images = Tensor::from(input, {batch, c.in_channels, c.image_size, c.image_size}, device);
  }

  /// The batch with every value moved by one unit in its last place, up or down by `number`;
  /// 0: as it is.
  void nudge(int number) {
    std::vector<float> values = input;
    const Philox random(std::uint64_t(number), RandomPurpose::kTest);
    for (std::size_t i = 0; number != 0 && i < values.size(); ++i) {
      values[i] = std::nextafter(values[i], random.word(i) & 1 ? 4.0f : -4.0f);
    }
    images = Tensor::from(values, images.shape(), device);
  }

  MemoryBank fresh_bank(const SafetensorsFile& file, const std::string& prefix) const {
    const std::vector<float> codes = file.to_floats(prefix + "bank_U");
    const std::vector<float> bank_labels = file.to_floats(prefix + "bank_Y");
    const int bits = network.config().bits;
    const std::int64_t bank_rows = std::int64_t(codes.size()) / bits;
    const int classes = int(std::int64_t(bank_labels.size()) / bank_rows);
    MemoryBank bank(bank_rows, bits, classes, DType::f32, device);
    bank.view().codes.copy_from(std::span<const float>(codes));
    const std::vector<std::uint64_t> packed = pack_labels(bank_labels, bank_rows, classes);
    bank.view().labels.copy_from(std::span<const std::uint64_t>(packed));
    return bank;
  }

  void read_labels(const SafetensorsFile& file, const std::string& prefix) {
    rows = file.to_int64s(prefix + "ind");
    const std::vector<float> hot = file.to_floats(prefix + "y");
    labels = pack_labels(hot, std::int64_t(rows.size()), int(hot.size() / rows.size()));
  }

  HashCode forward(const Tensor& pixels, const ForwardOptions& options) const {
    return network.forward(patchify(pixels, network.patch_shape(int(pixels.dim(0))), dtype),
                           options);
  }

  /// One pass forward and, when `tape` is given, backward. Gradients of parameters are cleared
  /// first.
  double loss_and_gradients(MemoryBank& bank, float alpha, Tape* tape) {
    if (tape != nullptr) parameters.zero_gradients();
    WmlLossResult result;
    {
      const Recording record(tape);
      result = bank.loss(forward(images, {}).code, labels, rows, alpha);
    }
    if (tape != nullptr) tape->backward();
    return double(result.loss.to_host<float>()[0]);
  }

  Device device;
  DType dtype;
  Parameters parameters;
  HybridHash network;
  std::vector<float> input;
  Tensor images;
  std::vector<std::int64_t> rows;
  std::vector<std::uint64_t> labels;
};

/// How far the weights may be from the reference's after some steps of RMSprop, an element at a
/// time. RMSprop divides by the size of the gradient, so where that is near 0 a whole step is
/// rounding noise, and no bound of all elements says anything. Of a step's direction
///
///   u = g / (s + eps),   s^2 = v = (1 - rho) sum_k rho^(t-k) g_k^2,
///
/// s is a norm of the gradients so far: if each is within e of the reference's, then s is within
/// sqrt(1 - rho^t) e, and |g| <= s / sqrt(1 - rho). With s', u' the reference's,
///
///   |u - u'| <= |g - g'| / (s + eps) + |u'| |s - s'| / (s + eps)
///            <= e / (s + eps) * (1 + sqrt((1 - rho^t) / (1 - rho))),
///
/// and never more than 2 / sqrt(1 - rho). An element counts as far as its gradient is above its
/// error: where |g| is below e, the bound is all that the steps can move it. Gradients are within
/// e = kGradientTolerance of their tensor's largest magnitude: of the first step they are compared,
/// of later ones their squares.
class StepBounds {
 public:
  StepBounds(const OptimizerConfig& optimizer, double learning_rate, std::int64_t elements)
      : rho_(double(optimizer.rho)),
        eps_(double(optimizer.eps)),
        learning_rate_(learning_rate),
        bounds_(std::size_t(elements)) {}

  /// After each step, of the gradient that it took and the mean square that it left.
  void add_step(const Parameters& parameters, std::span<const float> squares) {
    ++step_;
    const double spread = 1 + std::sqrt((1 - std::pow(rho_, step_)) / (1 - rho_));
    for (const Parameter& p : parameters.all()) {
      double largest = 0;
      for (const float g : p.gradient().to_host<float>()) {
        largest = std::max(largest, std::abs(double(g)));
      }
      const double error = kGradientTolerance * largest;
      for (std::int64_t i = p.begin(); i < p.begin() + p.shape().count(); ++i) {
        const double size = std::sqrt(double(squares[std::size_t(i)])) + eps_;
        bounds_[std::size_t(i)] +=
            float(learning_rate_ * std::min(error / size * spread, 2 / std::sqrt(1 - rho_)));
      }
    }
  }

  /// Compares a parameter's weights, sampled as the reference is. The worst element is reported.
  void compare(const GoldenTensors& golden, const Parameter& p, Report& report) const {
    const std::string key = "step" + std::to_string(step_) + "." + p.name();
    if (!golden.contains(key)) {
      return report.add({.tensor = key, .max_error = INFINITY, .note = "not in the golden file"});
    }
    const GoldenTensors::Sample weights = golden.sample(key, p.weight().to_host<float>());
    const std::size_t count = std::size_t(p.shape().count());
    const std::vector<float> bounds =
        golden.sample(key, std::span(bounds_).subspan(std::size_t(p.begin()), count)).ours;
    Check check{.tensor = key, .pass = !bounds.empty()};
    if (weights.ours.size() != weights.reference.size() || !check.pass) {
      return report.add({.tensor = key, .max_error = INFINITY, .note = "of another size"});
    }
    double worst = -1;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      const double error = std::abs(double(weights.ours[i]) - weights.reference[i]);
      // Each step also rounds: the weight by a unit, its own size by a few; and the reference was
      // rounded when it was stored.
      const double rounding =
          kUnit * (std::abs(weights.reference[i]) + 8 * learning_rate_ / std::sqrt(1 - rho_));
      const double bound = double(bounds[i]) + (step_ + 1) * rounding;
      if (!(error / bound <= worst)) {
        worst = error / bound;
        check.max_error = error;
        check.tolerance = bound;
      }
    }
    check.pass = worst <= 1;
    report.add(check);
  }

 private:
  static constexpr double kUnit = 0x1p-24;
  double rho_, eps_, learning_rate_;
  int step_ = 0;
  std::vector<float> bounds_;  // in the order of the flat arrays
};

void verify_steps(Setup& setup, const SafetensorsFile& file, const GoldenTensors& golden,
                  const nlohmann::json& config, const std::vector<double>& losses, Report& report) {
  const float alpha = config.at("alpha").get<float>();
  const double learning_rate = config.at("lr").get<double>();
  const OptimizerConfig rmsprop{.kind = "rmsprop", .weight_decay = config.at("wd").get<float>()};
  Optimizer optimizer(rmsprop, setup.parameters);
  StepBounds bounds(rmsprop, learning_rate, setup.parameters.flat_weights().count());
  MemoryBank bank = setup.fresh_bank(file, "");
  for (int step = 1; step <= 5; ++step) {
    Tape tape;
    const double loss = setup.loss_and_gradients(bank, alpha, &tape);
    report.compare("loss before step " + std::to_string(step), loss,
                   losses.at(std::size_t(step - 1)),
                   kLossTolerance * losses.at(std::size_t(step - 1)));
    optimizer.step(float(learning_rate));
    bounds.add_step(setup.parameters, optimizer.state().back().second.to_host<float>());
    if (step != 1 && step != 2 && step != 5) continue;
    for (const Parameter& p : setup.parameters.all()) bounds.compare(golden, p, report);
  }
  const double last = setup.loss_and_gradients(bank, alpha, nullptr);
  report.compare("loss after step 5", last, losses.at(5), kLossTolerance * losses.at(5));

  // v is a mean of squared gradients, so its relative error is twice the gradient's.
  const std::vector<float> squares = optimizer.state().back().second.to_host<float>();
  for (const Parameter& p : setup.parameters.all()) {
    const std::span<const float> part(squares.data() + p.begin(), std::size_t(p.shape().count()));
    golden.compare("sq_avg5." + p.name(), part, 2 * kGradientTolerance, 0, report);
  }
}

void verify_drop_path(Setup& setup, const SafetensorsFile& file, const GoldenTensors& golden,
                      const nlohmann::json& json, Report& report) {
  const HybridHashConfig& config = setup.network.config();
  const std::vector<float> rates = json.at("droppath_rates").get<std::vector<float>>();
  const std::int64_t images = setup.images.dim(0);
  std::vector<float> scales(std::size_t(2 * config.layers() * images), 1.0f);
  int layer = 0;
  for (int l = 0; l < HybridHashConfig::kLevels; ++l) {
    for (int j = 0; j < config.depths[std::size_t(l)]; ++j, ++layer) {
      const std::string key =
          "droppath.mask.level" + std::to_string(l) + ".layer" + std::to_string(j);
      if (!file.contains(key)) continue;
      const std::vector<float> mask = file.to_floats(key);
      for (std::size_t i = 0; i < mask.size(); ++i) {
        scales[std::size_t(2 * layer * images) + i] = mask[i] / (1 - rates.at(std::size_t(layer)));
      }
    }
  }
  Tensor input = setup.images;
  input.want_gradient();
  Tape tape;
  HashCode out;
  {
    const Recording record(&tape);
    out = setup.forward(
        input, {.drop_path = Tensor::from(scales, {2 * config.layers(), images}, setup.device)});
  }
  golden.compare("droppath.code", out.code.to_host<float>(), kStageTolerance, 0, report);
  out.code.gradient()->add(Tensor::from(std::vector<float>(std::size_t(out.code.count()), 1.0f),
                                        out.code.shape(), setup.device));
  tape.backward();
  golden.compare("droppath.dsum_dx", input.gradient()->value().to_host<float>(), kGradientTolerance,
                 kGradientL2Tolerance, report);
}

/// Codes and loss in bf16 or f16: all that can be compared (docs/specification.md, section 9).
void verify_half(Setup& setup, const SafetensorsFile& file, const std::string& prefix, float alpha,
                 std::span<const double> code, double loss, Report& report) {
  const double tolerance = half_code_tolerance(setup.dtype, setup.network.config().layers());
  report.compare(prefix + "code", setup.forward(setup.images, {}).code.to_host<float>(), code,
                 tolerance);
  MemoryBank bank = setup.fresh_bank(file, prefix);
  Tape tape;
  // The loss is Lipschitz in each code element with constant alpha; the mean over pairs of K
  // independent errors of the code moves it by less than one element's tolerance.
  report.compare(prefix + "loss", setup.loss_and_gradients(bank, alpha, &tape), loss, tolerance);
}

std::vector<double> flattened(const nlohmann::json& rows) {
  std::vector<double> values;
  for (const auto& row : rows) {
    for (const auto& value : row) values.push_back(value.get<double>());
  }
  return values;
}

/// How gradients are judged that rounding in max pools can move (docs/specification.md, section 9).
enum class TieRule {
  kStrict,    // by element and in l2
  kTolerant,  // one that fails is judged by l2 alone, within what near-tied windows explain
};

/// Compares gradients with the reference.
class GradientJudge {
 public:
  GradientJudge(const GoldenTensors& golden, const StageRecorder& recorder,
                const HybridHashConfig& config, TieRule rule)
      : golden_(golden) {
    if (rule == TieRule::kStrict) return;
    for (const auto& [stage, values] : recorder.stages) {
      if (stage == "hash.sum") ties_.see_channels_first(values, config.block_side());
      for (int l = 1; l < HybridHashConfig::kLevels; ++l) {
        if (stage != "level" + std::to_string(l) + ".im.norm_nhwc") continue;
        const int side = 2 * config.block_side() * HybridHashConfig::blocks_per_side(l);
        ties_.see_channels_last(values, side, config.dims[std::size_t(l)]);
      }
    }
  }

  void compare(const std::string& key, std::span<const float> ours, Report& report) const {
    Report strict;
    golden_.compare(key, ours, kGradientTolerance, kGradientL2Tolerance, strict);
    if (!strict.passed() && ties_.near_ties() > 0) {
      Report loose;
      golden_.compare(key, ours, kTiedTolerance, ties_.l2_allowance(), loose);
      for (Check check : loose.checks()) {
        if (check.pass) {
          check.note = "judged by l2: " + std::to_string(ties_.near_ties()) +
                       " pooling windows are tied within rounding";
        }
        report.add(check);
      }
      return;
    }
    for (const Check& check : strict.checks()) report.add(check);
  }

 private:
  // Of the largest magnitude: what one moved window did to PyTorch's own gradient
  // (docs/specification.md, section 9).
  static constexpr double kTiedTolerance = 1.7e-2;
  const GoldenTensors& golden_;
  PoolTies ties_;
};

/// Forward with all stages, loss, backward with all gradients: what both kinds of case share.
/// `image_samples`: stages are stored per image, under ".img0", ".img1", ...
void verify_pass(Setup& setup, const SafetensorsFile& file, const std::string& prefix, float alpha,
                 double loss, bool image_samples, TieRule rule, Report& report) {
  const GoldenTensors golden(file);
  Tensor input = setup.images;
  input.want_gradient();
  setup.parameters.zero_gradients();
  MemoryBank bank = setup.fresh_bank(file, prefix);
  Tape tape;
  StageRecorder recorder;
  HashCode out;
  WmlLossResult result;
  {
    const Recording record(&tape);
    out = setup.forward(input, {.probe = &recorder});
    result = bank.loss(out.code, setup.labels, setup.rows, alpha);
  }
  const std::int64_t images = input.dim(0);
  for (const auto& [stage, values] : recorder.stages) {
    const std::string key = prefix + "stage." + stage;
    if (!image_samples) {
      // Inner stages are stored for some cases only.
      if (golden.contains(key)) golden.compare(key, values, kStageTolerance, 0, report);
      continue;
    }
    for (std::int64_t b = 0; b < images; ++b) {
      const std::size_t size = values.size() / std::size_t(images);
      const std::string image_key = key + ".img" + std::to_string(b);
      if (!golden.contains(image_key)) continue;
      golden.compare(image_key, std::span(values).subspan(std::size_t(b) * size, size),
                     kStageTolerance, 0, report);
    }
  }
  report.compare(prefix + "loss", double(result.loss.to_host<float>()[0]), loss,
                 kLossTolerance * loss);
  if (golden.contains(prefix + "bank_U_after")) {
    golden.compare(prefix + "bank_U_after", bank.view().codes.to_host<float>(), kStageTolerance, 0,
                   report);
  }
  if (golden.contains(prefix + "dLdu")) {
    // Before backward takes it: the loss's gradient waits for the code on the tape, so it is
    // computed again here, on a tape of its own.
    Tensor code = out.code.detached();
    code.want_gradient();
    Tape alone;
    {
      const Recording record(&alone);
      setup.fresh_bank(file, prefix).loss(code, setup.labels, setup.rows, alpha);
    }
    alone.backward();
    golden.compare(prefix + "dLdu", code.gradient()->value().to_host<float>(), kGradientTolerance,
                   kGradientL2Tolerance, report);
  }
  tape.backward();
  const std::string input_key =
      golden.contains("grad_input") ? "grad_input" : prefix + "grad.input";
  const GradientJudge judge(golden, recorder, setup.network.config(), rule);
  judge.compare(input_key, input.gradient()->value().to_host<float>(), report);
  for (const Parameter& p : setup.parameters.all()) {
    judge.compare(prefix + "grad." + p.name(), p.gradient().to_host<float>(), report);
  }
}

/// Gradients jump where rounding makes a max pool choose another of two nearly equal elements, in
/// some window or other of a large network. A jump moves elsewhere when the input is changed by one
/// unit in its last place, which a wrong gradient doesn't: so a gradient passes that passes for one
/// of a few such inputs. Only if several windows never all fall as the reference's are they judged
/// by l2. Everything but gradients must pass as it is.
void verify_nudged(Setup& setup, const std::function<void(TieRule, Report&)>& verify,
                   Report& report) {
  constexpr int kMostNudges = 12;
  const auto is_gradient = [](const Check& check) {
    return check.tensor.find("grad") != std::string::npos ||
           check.tensor.find("dsum_dx") != std::string::npos;
  };
  Report best;
  verify(TieRule::kStrict, best);
  for (int number = 1; number <= kMostNudges && best.fails(is_gradient); ++number) {
    setup.nudge(number);
    Report again;
    verify(TieRule::kStrict, again);
    best.take_passes(again, is_gradient,
                     "near tie in a max pool: passes with nudged input " + std::to_string(number));
  }
  setup.nudge(0);
  if (best.fails(is_gradient)) {
    Report again;
    verify(TieRule::kTolerant, again);
    best.take_passes(again, is_gradient, "");
  }
  report.append(best);
}

/// Every stage, gradient and step that the file has must have been looked at.
void report_unseen(const SafetensorsFile& file, Report& report) {
  std::map<std::string, bool> seen;
  for (const Check& check : report.checks()) seen[check.tensor] = true;
  for (const std::string& full_name : file.names()) {
    std::string name = full_name;
    for (const char* kind : {"first.", "strided.", "stat."}) {
      if (name.starts_with(kind)) name = name.substr(std::string(kind).size());
    }
    const bool compared = name.find("stage.") != std::string::npos ||
                          name.find("grad.") != std::string::npos || name.starts_with("step");
    const std::size_t last = name.find("FcLayer.");
    if (!compared || seen.contains(name) || last != std::string::npos) continue;
    seen[name] = true;
    report.add({.tensor = name, .max_error = INFINITY, .note = "in the file, but not computed"});
  }
}

}  // namespace

void verify_network(const GoldenCase& files, const nlohmann::json& json, Device device, DType dtype,
                    Report& report) {
  const nlohmann::json& c = json.at("config");
  HybridHashConfig config{.image_size = c.at("size"),
                          .patch = c.at("patch"),
                          .in_channels = c.at("in_chans"),
                          .dims = c.at("dims"),
                          .heads = c.at("heads"),
                          .depths = c.at("depths"),
                          .bits = c.at("bits"),
                          .drop_path = 0};
  const SafetensorsFile file = SafetensorsFile::open(files.sibling(".safetensors"));
  const GoldenTensors golden(file);
  const auto seed = c.at("seed").get<std::uint64_t>();
  const float alpha = c.at("alpha").get<float>();
  const std::vector<double> losses = json.at("losses_f64").get<std::vector<double>>();

  Setup setup(config, seed, device, dtype);
  if (const auto path = files.sibling(".weights.safetensors"); std::filesystem::exists(path)) {
    const SafetensorsFile weights = SafetensorsFile::open(path);
    for (const Parameter& p : setup.parameters.all()) {
      report.compare("generated " + p.name(), p.weight().to_host<float>(),
                     weights.to_doubles(p.name()), 0);
      setup.parameters.set(p, weights.to_floats(p.name()));
    }
    setup.parameters.refresh_compute();
  }
  setup.use_batch(file.to_floats("input"), c.at("batch").get<int>());
  setup.read_labels(file, "");
  if (dtype != DType::f32) {
    return verify_half(setup, file, "", alpha, flattened(json.at("code_f64")), losses.at(0),
                       report);
  }
  verify_nudged(
      setup,
      [&](TieRule rule, Report& r) {
        verify_pass(setup, file, "", alpha, losses.at(0), false, rule, r);
      },
      report);
  if (json.contains("droppath_rates")) {
    verify_nudged(
        setup, [&](TieRule, Report& r) { verify_drop_path(setup, file, golden, json, r); }, report);
  }
  verify_steps(setup, file, golden, c, losses, report);
  report_unseen(file, report);
}

void verify_full_network(const GoldenCase& files, const nlohmann::json& json, Device device,
                         DType dtype, Report& report) {
  const SafetensorsFile file = SafetensorsFile::open(files.sibling(".safetensors"));
  const auto seed = json.at("seed").get<std::uint64_t>();
  const int batch = json.at("batch").get<int>();
  constexpr float kAlpha = 0.5f;  // docs/specification.md, section 8, full224
  for (const auto& [bits, codes] : json.at("code_f64").items()) {
    HybridHashConfig config = HybridHashConfig::preset("paper");
    config.bits = std::stoi(bits);
    config.drop_path = 0;
    const std::string prefix = "bits" + bits + ".";
    const double loss = json.at("loss_f64_bits" + bits).get<double>();
    Setup setup(config, seed, device, dtype);
    const std::int64_t pixels =
        std::int64_t{batch} * config.in_channels * config.image_size * config.image_size;
    setup.use_batch(generated_input(pixels, seed), batch);
    setup.read_labels(file, prefix);
    if (dtype != DType::f32) {
      verify_half(setup, file, prefix, kAlpha, flattened(codes), loss, report);
    } else {
      verify_nudged(
          setup,
          [&](TieRule rule, Report& r) {
            verify_pass(setup, file, prefix, kAlpha, loss, true, rule, r);
          },
          report);
    }
  }
  if (dtype == DType::f32) report_unseen(file, report);
}

}  // namespace hh::apps
