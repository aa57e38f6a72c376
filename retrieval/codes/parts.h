// SPDX-License-Identifier: Apache-2.0
// Codes of one list in several files, each made by a process of its own: part-00003-of-01000.codes has
// those of the list's images [base, ...). Put together in order they are the file that one process
// would have written, byte for byte.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "retrieval/codes/code_file.h"

namespace hh::retrieval {

/// "part-00003-of-01000.codes"
std::string part_file_name(const PartOfList& part);

/// The files of such names in a folder, sorted.
std::vector<std::filesystem::path> part_files(const std::filesystem::path& folder);

/// Where the file at `path` isn't the part that `wanted` describes: what differs, as "it is of another
/// list". Empty if it is that part. Throws std::runtime_error where it isn't a code file.
std::string other_part(const std::filesystem::path& path, const CodeSet& wanted, bool outputs);

/// Puts parts, in any order, together in a file: atomically, in memory that doesn't grow with them.
/// Throws std::runtime_error with the file and the cure: no part, a gap, a double, parts of other
/// counts, lists, models or columns, damaged ids or names, not one code. Returns the number of codes.
std::int64_t merge_parts(const std::vector<std::filesystem::path>& files,
                         const std::filesystem::path& out);

/// The same, into memory.
CodeSet read_parts(const std::vector<std::filesystem::path>& files);

}  // namespace hh::retrieval
