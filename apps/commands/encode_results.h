// SPDX-License-Identifier: Apache-2.0
// Where the codes of `hybridhash encode` go: a code file or a part of one, lines on stdout, arrays, and
// a list of the images that were left out.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "data/streams/stream_loader.h"
#include "engine/files/file.h"
#include "retrieval/codes/code_file_writer.h"
#include "retrieval/files/code_lines.h"

namespace hh::apps {

struct ResultPaths {
  std::string codes;  // a file; empty: none
  bool lines = false;
  retrieval::CodeLines line_format = retrieval::CodeLines::kTsv;
  std::string npy, npy_outputs;
  std::string bad;            // images left out; empty: not wanted
  bool keep_outputs = false;  // in the code file
};

class EncodeResults {
 public:
  /// Opens what is written while the codes come.
  EncodeResults(const ResultPaths& paths, const retrieval::CodeSet& about);
  void add(const retrieval::CodeSet& rows);
  void add_bad(const data::StreamedBatch::Bad& image);
  /// Files take their names here, the code file's last: who sees it sees all.
  void finish();

 private:
  ResultPaths paths_;
  std::optional<retrieval::CodeFileWriter> codes_;
  retrieval::CodeSet kept_;  // of the arrays: codes and outputs alone
  std::unique_ptr<AtomicFile> bad_;
};

}  // namespace hh::apps
