// SPDX-License-Identifier: Apache-2.0
// The retrieval experiments: which data set, which split, which transform, and the counts that a
// published figure rests on. docs/specification.md, section 4.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/experiments/split.h"
#include "data/images/transform.h"
#include "data/sets/dataset.h"
#include "data/sets/list_file.h"

namespace hh::data {

/// A row of the table. Counts of -1 are whatever the data holds.
struct Protocol {
  std::string name;
  std::string summary;  // one line for --help
  int classes = -1;
  std::int64_t query = -1, train = -1, database = -1;
  /// The size of the authors' bank, which for CIFAR-10 isn't the number of training images. Ours
  /// has one row per training image (split.train.size()).
  std::int64_t reference_bank_rows = -1;
  /// Cut of the reported mAP. -1: none. (The reference's -1 is a slice that drops the last item.)
  int top_k = -1;
};

const std::vector<Protocol>& protocols();
/// Throws std::invalid_argument listing the names.
const Protocol& find_protocol(const std::string& name);

/// Whether its data are list files, with images anywhere.
bool is_of_lists(const std::string& protocol);
/// Whether each image has a file of its own, which is decoded when it is wanted.
bool is_of_files(const std::string& protocol);

struct ProtocolOptions {
  /// Folder of the data: idx or .bin files, the lists, or the class folders. Empty: Debian's place
  /// for fashion_mnist; an error for the others.
  std::filesystem::path data;
  /// What relative paths in list files start from. Empty: the working directory (the reference).
  std::filesystem::path image_root;
  std::uint64_t seed = 0;  // of the split; unused where the lists are the split
  int size = 224;          // S, image side of the network
  int channels = 3;
  /// `folder` only. 0: a tenth of the class as queries, all the rest for training.
  std::int64_t query_per_class = 0, train_per_class = 0;
  /// Counts that differ from the table become warnings in place of an error.
  bool allow_other_counts = false;
  bool exif_orientation = false;
  std::int64_t max_pixels = DecodeOptions{}.max_pixels;
  bool scaled_decode = false;  // DecodeOptions::scaled_shorter_side at the transform's size
  ListLabels list_labels = ListLabels::kAuto;  // of protocols by list files
};

/// Of image files.
DecodeOptions decode_options(const ProtocolOptions& options);

struct Experiment {
  Protocol protocol;  // with the counts of the table
  std::shared_ptr<const Dataset> dataset;
  Split split;
  /// Of a saved split (split_file.h); empty otherwise.
  std::vector<std::int64_t> held_out, train_rows;
  TransformSpec train_transform, eval_transform;
  std::vector<std::string> warnings;  // what was passed over, counts that differ, when allowed
};

/// Reads lists, idx and .bin files (not the single images). Throws std::invalid_argument or
/// std::runtime_error with the file, the value and the cure.
Experiment open_protocol(const std::string& name, const ProtocolOptions& options);

/// A few lines: counts of each part (against the table), classes, labels per image, bank rows.
std::string describe(const Experiment& experiment);

}  // namespace hh::data
