// SPDX-License-Identifier: Apache-2.0
// Outputs that would destroy what can't be had back. Every command asks here before it computes.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/data_source.h"
#include "pipeline/recipe.h"

namespace hh::apps {

/// An option and the path that it was given; an empty path is an option that wasn't.
struct NamedPath {
  std::string option;
  std::filesystem::path path;
};

/// Throws std::invalid_argument where an output is one of the inputs or another output (the same
/// file, by whatever names and links), a picture, a model, a checkpoint, a recipe or another file
/// of a training run, or lies in an index. Devices and pipes keep nothing and are let through.
void check_output_files(const std::vector<NamedPath>& outputs,
                        const std::vector<NamedPath>& inputs);

/// For a folder that is made or replaced as a whole: throws where it is or holds an input, or lies
/// in an index.
void check_output_folder(const NamedPath& output, const std::vector<NamedPath>& inputs);

/// For a folder that files are written into: throws where something else is there, or above it.
void check_is_folder(const NamedPath& output);

/// The files that a recipe names, and the lists and files of pixels in the folder of its data.
std::vector<NamedPath> inputs_of(const pipeline::Recipe& recipe);

/// The files that encoding reads: the model, what lies beside it, and the images or their list.
std::vector<NamedPath> inputs_of(const std::string& model, const pipeline::SourceOptions& source);

}  // namespace hh::apps
