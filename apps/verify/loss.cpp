// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "apps/verify/cases.h"
#include "engine/tensor/tape.h"
#include "model/training/memory_bank.h"

namespace hh::apps {
namespace {

constexpr double kLossTolerance = 1e-6;  // relative; PyTorch's float32 is within 3e-7
// Of the largest magnitude (docs/specification.md, section 9).
constexpr double kGradientTolerance = 3e-5;

std::vector<std::uint64_t> packed(const std::vector<std::int64_t>& labels, std::int64_t rows) {
  return pack_labels(labels, rows, int(std::int64_t(labels.size()) / rows));
}

/// One case with a bank of the given type; `suffix` names the reference for it.
void verify_bank(const SafetensorsFile& file, const std::string& name, const nlohmann::json& json,
                 DType bank_type, const std::string& suffix, Device device, Report& report) {
  const std::vector<float> bank_codes = file.to_floats(name + ".U"),
                           u = file.to_floats(name + ".u");
  const std::vector<std::int64_t> rows = file.to_int64s(name + ".ind");
  const std::int64_t images = std::int64_t(rows.size());
  const int bits = int(std::int64_t(u.size()) / images);
  const std::int64_t bank_rows = std::int64_t(bank_codes.size()) / bits;
  const int classes = json.at("config").at("n_class").get<int>();

  MemoryBank bank(bank_rows, bits, classes, bank_type, device);
  if (bank_type == DType::f32) {
    bank.view().codes.copy_from(std::span<const float>(bank_codes));
  } else {
    std::vector<f16> rounded(bank_codes.size());
    for (std::size_t i = 0; i < rounded.size(); ++i) rounded[i] = from_float<f16>(bank_codes[i]);
    bank.view().codes.copy_from(std::span<const f16>(rounded));
  }
  const auto bank_labels = packed(file.to_int64s(name + ".Y"), bank_rows);
  bank.view().labels.copy_from(std::span<const std::uint64_t>(bank_labels));
  const auto labels = packed(file.to_int64s(name + ".y"), images);

  Tensor code = Tensor::from(u, {images, bits}, device);
  code.want_gradient();
  Tape tape;
  WmlLossResult result;
  {
    const Recording record(&tape);
    result = bank.loss(code, labels, rows, json.at("config").at("alpha").get<float>());
  }
  tape.backward();
  const double loss = json.at("loss_f64" + suffix).get<double>();
  report.compare(name + ".loss" + suffix, double(result.loss.to_host<float>()[0]), loss,
                 kLossTolerance * loss);
  GoldenTensors(file).compare(name + ".dLdu_f64" + suffix,
                              code.gradient()->value().to_host<float>(), kGradientTolerance,
                              kGradientTolerance, report);
  const std::vector<std::int64_t> pairs = result.pairs.to_host<std::int64_t>();
  report.equal(name + ".S1" + suffix, std::to_string(pairs[0]),
               std::to_string(json.at("S1").get<std::int64_t>()));
  report.equal(name + ".S0" + suffix, std::to_string(pairs[1]),
               std::to_string(json.at("S0").get<std::int64_t>()));
}

}  // namespace

void verify_loss(const GoldenCase& files, const nlohmann::json& json, Device device,
                 Report& report) {
  const SafetensorsFile file = SafetensorsFile::open(files.sibling(".safetensors"));
  for (const auto& [name, entry] : json.items()) {
    verify_bank(file, name, entry, DType::f32, "", device, report);
    verify_bank(file, name, entry, DType::f16, "_halfbank", device, report);
  }
}

}  // namespace hh::apps
