// SPDX-License-Identifier: Apache-2.0
#include "model/training/checkpoint.h"

#include <algorithm>
#include <charconv>

#include "engine/device/backend.h"
#include "engine/distributed/together.h"
#include "engine/tensor/extents.h"

namespace hh {
namespace {

constexpr const char* kGoOn = "resume with the recipe it was made with, or start a new run";
constexpr const char* kBankCodes = "bank.codes";
constexpr const char* kBankLabels = "bank.labels";
constexpr const char *kLossScale = "loss_scale", *kFiniteSteps = "loss_scale_finite_steps",
                     *kLastFinite = "loss_scale_last_finite";  // 0, 1, or 2: no step yet

std::string optimizer_name(const std::string& state, const std::string& parameter) {
  return "optimizer." + state + "." + parameter;
}

/// A tensor's bytes on the host.
std::span<const std::byte> host_bytes(const Tensor& tensor,
                                      std::vector<std::vector<std::byte>>& store) {
  if (tensor.device().kind == DeviceKind::kCpu) return {tensor.raw(), tensor.bytes()};
  std::vector<std::byte>& copy = store.emplace_back(tensor.bytes());
  backend(tensor.device()).copy_to_host(copy.data(), tensor.raw(), copy.size());
  backend(tensor.device()).synchronize();
  return copy;
}

SafetensorsItem item_of(const std::string& name, const Tensor& tensor,
                        std::vector<std::vector<std::byte>>& store) {
  return {name, safetensors_dtype(tensor.dtype()), tensor.shape().to_vector(),
          host_bytes(tensor, store)};
}

/// Whether the entry's elements are the tensor's. Labels of older checkpoints are I64 with the same
/// bits.
bool same_type(const SafetensorsFile::Entry& entry, const Tensor& tensor) {
  return entry.dtype == safetensors_dtype(tensor.dtype()) ||
         (entry.dtype == "I64" && tensor.dtype() == DType::u64);
}

/// The file's bytes of what is to become a tensor like this one.
std::span<const std::byte> exact_bytes(const SafetensorsFile& file, const std::string& path,
                                       const std::string& name, const Tensor& tensor) {
  HH_REQUIRE(file.contains(name),
             path << ": it has no " << name << ": it is of a run with another optimiser or bank");
  const SafetensorsFile::Entry& entry = file.entry(name);
  HH_REQUIRE(same_type(entry, tensor) && entry.shape == tensor.shape().to_vector(),
             path << ": " << name << " is " << entry.dtype << " " << extents_text(entry.shape)
                  << "; this run's is " << safetensors_dtype(tensor.dtype()) << " "
                  << to_string(tensor.shape()) << ": " << kGoOn);
  return entry.bytes;
}

void load_exact(const SafetensorsFile& file, const std::string& path, const std::string& name,
                const Tensor& tensor) {
  const std::span<const std::byte> bytes = exact_bytes(file, path, name, tensor);
  backend(tensor.device()).copy_from_host(tensor.raw(), bytes.data(), bytes.size());
}

/// The same of some rows of the file's tensor.
void load_rows(const SafetensorsFile& file, const std::string& path, const std::string& name,
               const Tensor& tensor, std::span<const std::int64_t> rows) {
  const bool all = rows.empty() || (file.contains(name) && !file.entry(name).shape.empty() &&
                                    file.entry(name).shape[0] == std::int64_t(rows.size()));
  if (all) return load_exact(file, path, name, tensor);
  HH_REQUIRE(file.contains(name), path << ": it has no " << name);
  const SafetensorsFile::Entry& entry = file.entry(name);
  HH_REQUIRE(same_type(entry, tensor) && entry.shape.size() == 2 &&
                 entry.shape[1] == tensor.dim(1) && tensor.dim(0) == std::int64_t(rows.size()) &&
                 rows.back() < entry.shape[0],
             path << ": " << name << " is " << entry.dtype << " " << extents_text(entry.shape)
                  << "; wanted: rows for " << safetensors_dtype(tensor.dtype()) << " "
                  << to_string(tensor.shape()) << ": " << kGoOn);
  const std::size_t row_bytes = entry.bytes.size() / std::size_t(entry.shape[0]);
  std::vector<std::byte> kept;
  kept.reserve(row_bytes * rows.size());
  for (const std::int64_t row : rows) {
    const auto from = entry.bytes.subspan(std::size_t(row) * row_bytes, row_bytes);
    kept.insert(kept.end(), from.begin(), from.end());
  }
  backend(tensor.device()).copy_from_host(tensor.raw(), kept.data(), kept.size());
  backend(tensor.device()).synchronize();  // `kept` goes
}

const std::string& metadata_value(const Metadata& metadata, const std::string& path,
                                  const std::string& key) {
  const auto it = metadata.find(key);
  if (it == metadata.end()) {
    throw std::runtime_error(path + ": its metadata has no \"" + key +
                             "\": not a checkpoint. Give last.safetensors of a run");
  }
  return it->second;
}

std::int64_t metadata_number(const Metadata& metadata, const std::string& path,
                             const std::string& key) {
  const std::string& text = metadata_value(metadata, path, key);
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw std::runtime_error(path + ": metadata \"" + key + "\" is '" + text +
                             "', not a whole number: the checkpoint is damaged");
  }
  return value;
}

std::string list(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 12;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i ? ", " : "") + names[i];
  }
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text;
}

}  // namespace

std::string LoadReport::summary() const {
  std::string text = std::to_string(loaded.size()) + " of " +
                     std::to_string(loaded.size() + missing.size()) + " parameters loaded";
  if (!missing.empty()) text += "; left at their initial values: " + list(missing);
  if (!ignored.empty()) text += "; in the file but not in this network: " + list(ignored);
  if (!unused.empty())
    text += "; accepted and not kept, the network never uses it: " + list(unused);
  return text;
}

LoadReport load_weights(const SafetensorsFile& file, const std::string& name,
                        Parameters& parameters, Loading loading) {
  LoadReport report;
  std::vector<std::string> other_shapes;
  for (const std::string& tensor : file.names()) {
    const Parameter* p = parameters.find(tensor);
    if (p != nullptr) {
      const auto& entry = file.entry(tensor);
      if (entry.shape != p->shape().to_vector()) {
        other_shapes.push_back(tensor + " is " + extents_text(entry.shape) + " there and " +
                               to_string(p->shape()) + " here");
      }
    } else if (tensor.starts_with("FcLayer.")) {
      report.unused.push_back(tensor);
    } else if (!tensor.starts_with("optimizer.") && !tensor.starts_with("bank.")) {
      report.ignored.push_back(tensor);
    }
  }
  HH_REQUIRE(other_shapes.empty(), name << ": weights of another network: " << list(other_shapes)
                                        << "; give [model] the sizes they were trained with");
  for (const Parameter& p : parameters.all()) {
    (file.contains(p.name()) ? report.loaded : report.missing).push_back(p.name());
  }
  if (loading == Loading::kStrict) {
    HH_REQUIRE(report.missing.empty(), name << ": weights are missing: " << list(report.missing)
                                            << ": it isn't the whole model; copy it again");
    HH_REQUIRE(report.ignored.empty(),
               name << ": tensors that this network doesn't have: " << list(report.ignored)
                    << ": it isn't the model that its metadata describe");
  }
  HH_REQUIRE(!report.loaded.empty(),
             name << ": none of its tensors is a parameter of this network; it has "
                  << list(file.names()) << ": rename them as the reference's state dict has them");
  for (const std::string& tensor : report.loaded) {
    parameters.set(*parameters.find(tensor), file.to_floats(tensor));
  }
  parameters.refresh_compute();
  return report;
}

std::vector<SafetensorsItem> weight_items(const Parameters& parameters,
                                          std::vector<std::vector<std::byte>>& store) {
  std::vector<SafetensorsItem> items;
  for (const Parameter& p : parameters.all()) {
    items.push_back(item_of(p.name(), p.weight(), store));
  }
  return items;
}

namespace {

/// `state`: Optimizer::whole_state().
void write_checkpoint(const std::filesystem::path& path, Trainer& trainer,
                      const Optimizer::State& state, const Metadata& extra) {
  std::vector<std::vector<std::byte>> store;
  std::vector<SafetensorsItem> items = weight_items(trainer.parameters(), store);
  // A tensor for each parameter: the flat arrays' padding is ours.
  for (const auto& [name, values] : state) {
    for (const Parameter& p : trainer.parameters().all()) {
      items.push_back(
          item_of(optimizer_name(name, p.name()), values.part(p.begin(), p.shape()), store));
    }
  }
  items.push_back(item_of(kBankCodes, trainer.bank().view().codes, store));
  items.push_back(item_of(kBankLabels, trainer.bank().view().labels, store));
  Metadata metadata = extra;
  metadata["format"] = kCheckpointFormat;
  metadata["config"] = to_json(trainer.config().model);
  metadata["steps"] = std::to_string(trainer.optimizer().steps());
  metadata["seed"] = std::to_string(trainer.config().seed);
  metadata["classes"] = std::to_string(trainer.config().classes);
  if (const auto scaling = trainer.loss_scaling()) {
    metadata[kLossScale] = std::to_string(std::int64_t(scaling->scaler.scale));
    metadata[kFiniteSteps] = std::to_string(scaling->scaler.finite_steps);
    metadata[kLastFinite] = std::to_string(scaling->last_finite ? int(*scaling->last_finite) : 2);
  }
  write_safetensors(path, items, metadata);
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, Trainer& trainer, const Metadata& extra) {
  Communicator& ranks = *trainer.config().ranks;
  const Optimizer::State state = trainer.optimizer().whole_state();
  together(ranks, [&] {
    if (ranks.rank() == 0) write_checkpoint(path, trainer, state, extra);
  });
}

Metadata load_checkpoint(const std::filesystem::path& path, Trainer& trainer,
                         std::span<const std::int64_t> bank_rows) {
  const std::string name = path.string();
  const SafetensorsFile file = SafetensorsFile::open(path);
  const Metadata& metadata = file.metadata();
  const std::string& format = metadata_value(metadata, name, "format");
  HH_REQUIRE(format == kCheckpointFormat, name << ": its format is '" << format << "'; wanted: '"
                                               << kCheckpointFormat
                                               << "': give last.safetensors of a run");
  HybridHashConfig config;
  try {
    config = config_from_json(metadata_value(metadata, name, "config"));
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(name + ": " + error.what());
  }
  HH_REQUIRE(config == trainer.config().model,
             name << ": it is of another network: " << to_json(config) << "; this run's is "
                  << to_json(trainer.config().model) << ": " << kGoOn);
  const auto same = [&](const char* key, std::int64_t ours) {
    const std::int64_t theirs = metadata_number(metadata, name, key);
    HH_REQUIRE(theirs == ours, name << ": its " << key << " is " << theirs << "; this run's is "
                                    << ours << ": " << kGoOn);
  };
  same("seed", std::int64_t(trainer.config().seed));
  same("classes", trainer.config().classes);
  // Weights of a checkpoint are F32; in another type they wouldn't go on bit for bit.
  for (const Parameter& p : trainer.parameters().all())
    load_exact(file, name, p.name(), p.weight());
  const Optimizer::State& state = trainer.optimizer().state();
  for (std::size_t i = 0; i < state.size(); ++i) {
    for (const Parameter& p : trainer.parameters().all()) {
      trainer.optimizer().set_state(
          i, p.begin(),
          exact_bytes(file, name, optimizer_name(state[i].first, p.name()), p.weight()));
    }
  }
  load_rows(file, name, kBankCodes, trainer.bank().view().codes, bank_rows);
  load_rows(file, name, kBankLabels, trainer.bank().view().labels, bank_rows);
  trainer.optimizer().set_steps(metadata_number(metadata, name, "steps"));
  trainer.parameters().refresh_compute();
  if (trainer.loss_scaling() && metadata.contains(kLossScale)) {
    const std::int64_t finite = metadata_number(metadata, name, kLastFinite);
    Trainer::LossScaling scaling{
        .scaler = {.scale = float(metadata_number(metadata, name, kLossScale)),
                   .finite_steps = int(metadata_number(metadata, name, kFiniteSteps))},
        .last_finite = std::nullopt};
    const LossScaler& scaler = scaling.scaler;
    if (!(scaler.scale >= LossScaler::kLeast && scaler.scale <= LossScaler::kMost) ||
        scaler.finite_steps >= LossScaler::kPatience) {
      throw std::runtime_error(
          name +
          ": its loss scale is out of range, so the checkpoint is damaged: start "
          "a new run");
    }
    if (finite < 2) scaling.last_finite = finite == 1;
    trainer.set_loss_scaling(scaling);
  }
  // The file is unmapped on return.
  backend(trainer.device()).synchronize();
  return metadata;
}

}  // namespace hh
