// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/snapshot.h"

#include <system_error>

#include "engine/files/file.h"
#include "engine/files/folder_in_making.h"
#include "kernels/core/check.h"
#include "retrieval/index/index.h"

namespace hh::retrieval {
namespace {
namespace fs = std::filesystem;

constexpr const char* kMark = "snapshot";
constexpr const char* kBeside[] = {"sync.json"};  // what others keep in an index's folder

/// Links or copies what a manifest names. False where a link isn't possible.
bool take_files(const fs::path& folder, const fs::path& to, const IndexManifest& manifest,
                bool copy) {
  std::vector<std::string> names{manifest.codes_name(), manifest.ids_name()};
  if (manifest.outputs) names.push_back(manifest.outputs_name());
  if (manifest.deleted_file >= 0) names.push_back(manifest.deleted_name());
  bool linked = !copy;
  for (const std::string& name : names) {
    std::error_code failed;
    if (linked) fs::create_hard_link(folder / name, to / name, failed);
    if (failed && !fs::exists(folder / name)) throw std::runtime_error(name + " is gone");
    if (failed) linked = false;  // another disk, or one that knows no links
    if (!linked) fs::copy_file(folder / name, to / name, fs::copy_options::overwrite_existing);
  }
  // Rows of it are added in place, so it can't be shared; it may have more than the manifest counts.
  ItemTable(folder / manifest.items_name(), ItemTable::Mode::kRead)
      .copy_to(to / manifest.items_name());
  return linked;
}

void empty(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) fs::remove_all(entry.path());
}

}  // namespace

void check_is_no_snapshot(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder / kMark, ignored)) return;
  throw std::runtime_error(
      folder.string() +
      ": it is a snapshot, which shares its files with the index that it was "
      "made of; one that can be changed is made by hybridhash index snapshot " +
      folder.string() + " --out NEW --copy");
}

Snapshot make_snapshot(const fs::path& folder, const fs::path& place, bool copy) {
  const fs::path to = place.has_filename() ? place : place.parent_path();
  HH_REQUIRE(!fs::exists(to) || (fs::is_directory(to) && fs::is_empty(to)),
             to.string() << " exists already; choose another name");
  FolderInMaking made(to);
  constexpr int kAttempts = 100;
  for (int attempt = 1;; ++attempt) {
    IndexManifest manifest = read_index_manifest(folder);
    try {
      const bool linked = take_files(folder, made.path(), manifest, copy);
      if (!linked) manifest.identity = new_identity();  // its changes are its own
      if (linked) {
        write_file_atomically(
            made.path() / kMark,
            "The files beside this one are shared with an index. hybridhash index "
            "snapshot --copy makes an index of them that can be changed.\n");
      }
      for (const char* name : kBeside) {
        if (fs::exists(folder / name)) fs::copy_file(folder / name, made.path() / name);
      }
      write_index_manifest(made.path(), manifest);
      const Index index = Index::open(made.path());
      index.outputs();  // checks what opening leaves for later
      made.put_in_place();
      return {.items = index.count(), .linked = linked};
    } catch (const std::runtime_error&) {
      // A change since then may have removed what the manifest named.
      if (attempt == kAttempts || read_index_manifest(folder).generation == manifest.generation) {
        throw;
      }
    }
    empty(made.path());
  }
}

}  // namespace hh::retrieval
