// SPDX-License-Identifier: Apache-2.0
// Which items of a data set are queries, training images and database, in order: position i of
// `train` is row i of the memory bank. Made once per run, whatever the code length, and kept in the
// run folder (split_file.h).
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/sets/labels.h"

namespace hh::data {

struct Split {
  std::vector<std::int64_t> query, train, database;
};

/// Class by class (0, 1, ...), an item counting for its first class: its items are shuffled by
/// (seed, class), the first `query_per_class` are queries, the next `train_per_class` training
/// images, the rest goes to `database`. Throws std::invalid_argument if a class is too small; `class_names` are
/// for that message.
Split stratified_split(const Labels& labels, std::int64_t query_per_class,
                       std::int64_t train_per_class, std::uint64_t seed,
                       const std::vector<std::string>& class_names = {});

/// Takes `count` items, chosen by seed, out of `items`: {what stays, what was taken}, both in their
/// old order. For choosing the best checkpoint without looking at the queries.
std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> hold_out(
    const std::vector<std::int64_t>& items, std::int64_t count, std::uint64_t seed);

/// Throws std::invalid_argument: an index outside [0, items), one twice in a part, or a query that
/// is also a training or database item.
void check_split(const Split& split, std::int64_t items);

}  // namespace hh::data
