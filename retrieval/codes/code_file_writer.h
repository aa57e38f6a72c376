// SPDX-License-Identifier: Apache-2.0
// A code file written as the codes come, whatever their number: the same bytes as write_code_file()
// of all of them, in memory that doesn't grow.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "engine/files/spool.h"
#include "retrieval/codes/code_file.h"

namespace hh::retrieval {

class CodeFileWriter {
 public:
  /// `about` says everything but the rows. Names are kept where `names`, outputs where `outputs`;
  /// then all rows must have them. Where no row has a label, a file that is no part has none of the
  /// classes either; parts keep them, since another part may have labels. The same goes for names, where
  /// all are empty. Throws std::runtime_error.
  CodeFileWriter(const std::filesystem::path& path, const CodeSet& about, bool names, bool outputs);

  /// Throws std::invalid_argument where the rows don't fit (CodeSet::validate, other bits, other
  /// classes), DiskFull, TryAgain.
  void append(const CodeSet& rows);
  std::int64_t count() const { return columns_.count; }
  /// Flushes and renames, once. Without it nothing is left.
  void finish();

 private:
  std::filesystem::path path_;
  CodeSet about_;
  CodeFileColumns columns_;
  bool labelled_ = false;  // some row is
  Spool codes_, ids_, labels_, names_, offsets_, outputs_;
};

}  // namespace hh::retrieval
