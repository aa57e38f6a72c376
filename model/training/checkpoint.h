// SPDX-License-Identifier: Apache-2.0
// Weights and whole training states in safetensors files. Tensors of weights carry the reference's
// state-dict names, so that its own weights (converted to safetensors) load as they are.
//
// A checkpoint holds, besides the weights:
//   optimizer.STATE.NAME   running averages of parameter NAME
//   bank.codes             [M, K] F32, F16 or BF16: the memory bank
//   bank.labels            [M, words] U64: packed class bits
// and in its metadata "format", "config" (JSON of the network), "steps", "seed", "classes", in f16
// "loss_scale" and its two counters, plus whatever the caller adds. With the place in the data that
// is all a run needs to go on bit for bit: random numbers are counter-based, so their state is the
// seed and the number of steps.
#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"
#include "model/training/trainer.h"

namespace hh {

using Metadata = std::map<std::string, std::string>;

/// What loading weights found, by name.
struct LoadReport {
  std::vector<std::string> loaded;
  std::vector<std::string> missing;  // ours, not in the file: they keep their values
  std::vector<std::string> ignored;  // in the file, not ours
  std::vector<std::string> unused;   // FcLayer.*: the reference has them, and no use for them

  /// "243 of 263 parameters loaded; left at their initial values: ...; not used: ...".
  std::string summary() const;
};

enum class Loading {
  kStrict,   // every parameter, and nothing else but FcLayer.* and the rest of a checkpoint
  kPartial,  // what both have, as PyTorch's strict=False; at least one
};

/// Copies weights into `parameters` (already placed). Values may be F32, F16, BF16 or F64. Throws
/// std::invalid_argument listing what is missing or too much (kStrict), and in both modes any
/// tensor of our name and another shape. `name` is the file's, for errors.
LoadReport load_weights(const SafetensorsFile& file, const std::string& name,
                        Parameters& parameters, Loading loading);

/// The weights as items of a safetensors file. `store` keeps copies of device memory alive; on the
/// CPU the items point into the tensors.
std::vector<SafetensorsItem> weight_items(const Parameters& parameters,
                                          std::vector<std::vector<std::byte>>& store);

/// Written atomically, by rank 0 of those that train together; all call it. The file doesn't know
/// how many they are. Throws std::runtime_error; on the other ranks OtherRankFailed.
void save_checkpoint(const std::filesystem::path& path, Trainer& trainer, const Metadata& extra);

/// Sets weights, optimiser state, bank and steps of a trainer of the same configuration, on any
/// number of ranks, each of which reads the file; returns the file's metadata. Throws
/// std::runtime_error if the file is broken, std::invalid_argument if it is of another network,
/// optimiser, bank or seed. After an exception the trainer must not be used.
/// `bank_rows`: the row of the file's bank for each row of the trainer's, ascending, when training
/// images are gone since; empty: they are the same.
Metadata load_checkpoint(const std::filesystem::path& path, Trainer& trainer,
                         std::span<const std::int64_t> bank_rows = {});

inline constexpr const char* kCheckpointFormat = "hybridhash checkpoint 1";

}  // namespace hh
