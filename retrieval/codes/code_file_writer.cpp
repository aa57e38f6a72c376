// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/code_file_writer.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

/// A device or a pipe has no room beside it.
std::filesystem::path folder_for(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  const bool beside = !std::filesystem::exists(status) || std::filesystem::is_regular_file(status);
  return beside ? path.parent_path() : std::filesystem::temp_directory_path();
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

CodeFileWriter::CodeFileWriter(const std::filesystem::path& path, const CodeSet& about, bool names,
                               bool outputs)
    : path_(path),
      about_(about),
      columns_{.names = names, .outputs = outputs},
      codes_(folder_for(path)),
      ids_(folder_for(path)),
      labels_(folder_for(path)),
      names_(folder_for(path)),
      offsets_(folder_for(path)),
      outputs_(folder_for(path)) {
  HH_PRECONDITION(about.count() == 0, "code file: " << about.count() << " rows before the first");
  if (names) offsets_.append(bytes_of(std::vector<std::int64_t>{0}));
}

void CodeFileWriter::append(const CodeSet& rows) {
  rows.validate();
  if (rows.count() == 0) return;
  HH_REQUIRE(rows.codes.bits() == about_.codes.bits() && rows.classes == about_.classes,
             "codes of " << rows.codes.bits() << " bits and " << rows.classes
                         << " classes behind those of " << about_.codes.bits() << " and "
                         << about_.classes << ": write files of their own");
  HH_REQUIRE(rows.names.empty() != columns_.names && rows.outputs.empty() != columns_.outputs,
             "codes with and without names or outputs: write files of their own");
  columns_.count += rows.count();
  codes_.append(bytes_of(rows.codes.to_bytes()));
  ids_.append(bytes_of(rows.ids));
  labels_.append(bytes_of(rows.labels));
  labelled_ = labelled_ || std::any_of(rows.labels.begin(), rows.labels.end(),
                                       [](std::uint64_t word) { return word != 0; });
  std::vector<std::int64_t> offsets;
  for (const std::string& name : rows.names) {
    names_.append(std::as_bytes(std::span(name)));
    columns_.name_bytes += std::int64_t(name.size());
    offsets.push_back(columns_.name_bytes);
  }
  offsets_.append(bytes_of(offsets));
  outputs_.append(bytes_of(rows.outputs));
}

void CodeFileWriter::finish() {
  if (!labelled_ && !about_.part) {
    about_.classes = 0;
    about_.class_names.clear();
  }
  if (columns_.name_bytes == 0 && !about_.part) columns_.names = false;
  std::vector<const Spool*> spools{&codes_, &ids_};  // as code_file_tensors() has them
  if (about_.classes > 0) spools.push_back(&labels_);
  if (columns_.names) spools.insert(spools.end(), {&names_, &offsets_});
  if (columns_.outputs) spools.push_back(&outputs_);
  const SafetensorsHead head = code_file_head(about_, columns_);
  AtomicFile file(path_);
  file.write(head.bytes);
  for (const std::size_t i : head.order) spools[i]->copy_to(file);
  file.commit();
}

}  // namespace hh::retrieval
