// SPDX-License-Identifier: Apache-2.0
// Makes an index follow folders (sync_plan.h), a piece at a time: what was done lasts, whenever it is
// stopped, and the next sync goes on from there.
#pragma once
#include <filesystem>
#include <functional>

#include "pipeline/data_source.h"
#include "pipeline/encoder.h"
#include "pipeline/sync_plan.h"

namespace hh::pipeline {

struct SyncOptions {
  std::filesystem::path index;  // made where it isn't there
  EncoderOptions encoder;
  double max_pixels = 0;  // data_source.h
  std::function<bool()> stop = [] { return false; };
};

struct SyncOutcome {
  std::int64_t added = 0, changed = 0, moved = 0, gone = 0;
  std::int64_t touched = 0;  // in another class, or with another time and the same content
  std::int64_t bad = 0;      // files that can't be read: the next sync tries them again
  bool stopped = false;
};

/// Does what the plan says. The model, asked for when there is something to encode or an index to make,
/// must be the index's. Other processes may change the index meanwhile. Throws std::invalid_argument and
/// std::runtime_error.
SyncOutcome apply_sync(const SyncPlan& plan, const SyncRoots& roots, const SyncOptions& options,
                       const std::function<const Model&()>& model);

/// Images through a model, in pieces of a few seconds: `done(first, set)` gets the codes of `count`
/// files from `first` on, those that can be read, with ids counted from `first`. `stop` is asked between
/// them. One bar of progress, called `what`, for all.
void encode_in_pieces(
    const Model& model, const std::vector<std::filesystem::path>& files,
    const EncoderOptions& encoder, double max_pixels, const std::string& what,
    const std::function<bool()>& stop,
    const std::function<void(std::size_t first, std::size_t count, retrieval::CodeSet set)>& done);

}  // namespace hh::pipeline
