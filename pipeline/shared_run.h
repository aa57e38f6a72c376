// SPDX-License-Identifier: Apache-2.0
// What the processes of one training run must have in common, and do together besides training.
#pragma once
#include <cstdint>
#include <vector>

#include "data/experiments/split.h"
#include "data/sets/dataset.h"
#include "engine/distributed/communicator.h"
#include "pipeline/encoder.h"
#include "pipeline/listener.h"
#include "pipeline/recipe.h"
#include "retrieval/codes/code_file.h"

namespace hh::pipeline {

/// Rank 0's listener is the run's. The others report nothing and show no progress; what they warn
/// of, as images that only they read, bears their number.
Listener listener_of(const Communicator& ranks, const Listener& listener);

/// All ranks end together when one has another recipe than rank 0: the first such rank throws
/// std::invalid_argument with the key and both values.
void check_same_recipe(Communicator& ranks, const Recipe& recipe,
                       const std::filesystem::path& folder, bool resuming);

/// The same for data: their number, the split, and the names of the training images.
void check_same_data(Communicator& ranks, const data::Dataset& dataset, const data::Split& split,
                     const std::vector<std::int64_t>& train);

/// Encoder::encode() by all ranks: each a part of the items that begins where a batch does, so that
/// the codes are one process's bits. Rank 0 gets them, with ids and labels; the others get none.
/// All end together when a rank fails.
retrieval::CodeSet encode_together(Communicator& ranks, const Encoder& encoder,
                                   const data::Dataset& dataset,
                                   const std::vector<std::int64_t>& items, int batch,
                                   const std::string& what);

}  // namespace hh::pipeline
