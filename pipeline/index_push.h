// SPDX-License-Identifier: Apache-2.0
// An index into a collection of a server of others, and back. What was put lasts, whenever a push is
// stopped or killed, and the next one goes on from there: the collection itself knows how far the index is
// in it (PushState), so nobody need say from which generation on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "pipeline/listener.h"
#include "retrieval/engines/collection.h"
#include "retrieval/files/item_files.h"

namespace hh::pipeline {

struct PushOptions {
  bool full =
      false;  // all of it, and what else is there goes; else what changed since the last push
  bool overwrite = false;    // a collection that is there is removed first, whatever it holds
  double wait_seconds = 10;  // for another program that changes the collection
  std::function<bool()> stop = [] { return false; };  // asked between pieces
  Listener listener;
};

struct PushOutcome {
  bool made = false;     // the collection
  bool nothing = false;  // to do: the collection had this state of the index
  std::int64_t put = 0, removed = 0;
  bool stopped = false;
};

/// Whether the collection has this state of the index.
bool is_pushed(const retrieval::IndexManifest& manifest, const retrieval::CollectionAbout& about);

/// Makes the collection hold the index's items; made where it isn't there. Throws std::invalid_argument for a
/// collection of another model, or of another index without `full`; and what a Collection throws.
PushOutcome push(const retrieval::Index& index, retrieval::Collection& collection,
                 const PushOptions& options);

/// Writes all items of the collection, by id, to a file, or without a format into a new index; returns how many. Formats without a length at their start, and
/// code files, are written as the items come. Nothing is written, and -1 returned, where `stop` says so. Throws
/// std::invalid_argument where there is no collection, and what a Collection throws.
std::int64_t pull(retrieval::Collection& collection, const std::filesystem::path& out,
                  std::optional<retrieval::ItemFormat> format, const Listener& listener,
                  const std::function<bool()>& stop);

}  // namespace hh::pipeline
