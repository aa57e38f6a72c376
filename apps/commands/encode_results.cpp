// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/encode_results.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "retrieval/files/npy.h"

namespace hh::apps {

EncodeResults::EncodeResults(const ResultPaths& paths, const retrieval::CodeSet& about)
    : paths_(paths) {
  if (!paths.codes.empty()) codes_.emplace(paths.codes, about, true, paths.keep_outputs);
  kept_.codes = about.codes;
  if (!paths.bad.empty()) bad_ = std::make_unique<AtomicFile>(paths.bad);
}

void EncodeResults::add(const retrieval::CodeSet& rows) {
  if (paths_.lines) {
    const std::string lines = retrieval::code_lines(rows, paths_.line_format);
    // Whoever reads them may wait for this batch.
    if (std::fwrite(lines.data(), 1, lines.size(), stdout) != lines.size() ||
        std::fflush(stdout) != 0) {
      throw std::system_error(errno, std::generic_category(), "stdout");
    }
  }
  if (!paths_.npy.empty()) kept_.codes.append(rows.codes);
  if (!paths_.npy_outputs.empty()) {
    kept_.outputs.insert(kept_.outputs.end(), rows.outputs.begin(), rows.outputs.end());
  }
  if (!codes_) return;
  if (rows.outputs.empty() == !paths_.keep_outputs) return codes_->append(rows);
  retrieval::CodeSet without = rows;
  without.outputs.clear();
  codes_->append(without);
}

void EncodeResults::add_bad(const data::StreamedBatch::Bad& image) {
  if (!bad_) return;
  bad_->write(fmt::format("{}\t{}\t{}\n", image.id, retrieval::tsv_field(image.name),
                          retrieval::tsv_field(image.error)));
}

void EncodeResults::finish() {
  const std::int64_t bits = kept_.codes.bits();
  if (!paths_.npy.empty()) {
    const std::int64_t shape[] = {kept_.codes.count(), (bits + 7) / 8};
    retrieval::write_npy<std::uint8_t>(paths_.npy, shape, kept_.codes.to_bytes());
  }
  if (!paths_.npy_outputs.empty()) {
    const std::int64_t shape[] = {std::int64_t(kept_.outputs.size()) / bits, bits};
    retrieval::write_npy<float>(paths_.npy_outputs, shape, kept_.outputs);
  }
  if (bad_) bad_->commit();
  if (codes_) codes_->finish();
}

}  // namespace hh::apps
