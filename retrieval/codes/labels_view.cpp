// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/labels_view.h"

namespace hh::retrieval {

void append_labels(std::vector<std::uint64_t>& labels, int classes, std::span<const int> of_item) {
  const auto words = std::size_t(label_words(classes));
  labels.resize(labels.size() + words);
  for (const int c : of_item) set_label(labels.data() + labels.size() - words, c);
}

}  // namespace hh::retrieval
