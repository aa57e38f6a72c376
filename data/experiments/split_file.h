// SPDX-License-Identifier: Apache-2.0
// split.json of a run folder: a split, and the names of the images that it was made of. Positions
// alone would mean other images as soon as one is added or taken away, and a query would become a
// training image without a word. So would it when two files are exchanged under their names: `sizes`
// tells most of that without reading an image.
//
//   format 2   positions in `names`, all images in their order then; `labels`, a hash of theirs;
//              `sizes` of their files in bytes, -1 where unknown (absent in older files, and where no
//              image has a file of its own)
//   format 1   positions alone (before 0.1.0): read, but only the number of images can be checked
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/experiments/split.h"
#include "data/sets/dataset.h"

namespace hh::data {

struct SavedSplit {
  int format = 2;
  std::string protocol;
  std::int64_t items = 0;
  Split split;                           // positions in `names`
  std::vector<std::int64_t> held_out;    // of split.train, in its order; format 2
  std::vector<std::string> names;        // format 2
  std::vector<std::int64_t> sizes;       // of the names' files, -1: unknown; may be empty
  std::vector<std::string> class_names;  // may be empty
  std::string labels;                    // SHA-256 of all labels; format 2
};

/// `held_out`: items of split.train that aren't trained on.
void write_split(const std::filesystem::path& path, const Split& split,
                 const std::vector<std::int64_t>& held_out, const Dataset& dataset,
                 std::string_view protocol, std::uint64_t seed);
/// Throw std::runtime_error if the text is broken.
SavedSplit parse_split(std::string_view text);
SavedSplit read_split(const std::filesystem::path& path);

/// A saved split for a data set as it is now.
struct FittedSplit {
  Split split;
  std::vector<std::int64_t> held_out;
  /// Of each image that is trained on (split.train without held_out): its number among them when the
  /// split was made. 0, 1, 2, ... when nothing is gone.
  std::vector<std::int64_t> train_rows;
  std::vector<std::string> notes;  // what changed, what can't be checked; for the user
};

/// Images are found by name. Throws std::runtime_error naming what is gone, new, labelled otherwise
/// or of another size, unless `allow_changed`: then the split goes on with what is still there, and
/// what is new, or in a file of another size, belongs to no part. Other classes, another protocol,
/// nothing left to train on: always. `where` begins the message.
FittedSplit fit_split(const SavedSplit& saved, const Dataset& dataset, std::string_view protocol,
                      bool allow_changed, const std::string& where);

}  // namespace hh::data
