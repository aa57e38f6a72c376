// SPDX-License-Identifier: Apache-2.0
#include "model/training/same_weights.h"

#include "engine/distributed/together.h"
#include "engine/files/xxh64.h"
#include "model/training/checkpoint.h"

namespace hh {

void check_same_weights(Trainer& trainer, const std::filesystem::path& read_from) {
  Communicator& ranks = *trainer.config().ranks;
  if (ranks.size() == 1) return;
  std::vector<std::vector<std::byte>> store;
  std::vector<std::int64_t> sums;
  for (const SafetensorsItem& item : weight_items(trainer.parameters(), store)) {
    sums.push_back(std::int64_t(xxh64(item.bytes)));
  }
  const std::vector<std::int64_t> all = ranks.gather(std::span<const std::int64_t>(sums));
  together(ranks, [&] {
    if (ranks.rank() != 0) return;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t parameter = i % sums.size();
      if (all[i] == sums[parameter]) continue;
      const std::string rank = "rank " + std::to_string(i / sums.size());
      const std::string first = trainer.parameters().all()[parameter].name();
      if (!read_from.empty()) {
        throw std::runtime_error(read_from.string() + ": " + rank +
                                 " has another file of that name than rank 0 (" + first +
                                 " is the first weight that differs): resume in a folder that all "
                                 "machines share, or copy rank 0's to each");
      }
      throw std::runtime_error("the weights of " + rank + " aren't rank 0's any more (" + first +
                               " is the first that differs): its machine computes or keeps them "
                               "wrongly; leave it out, and go on with --resume");
    }
  });
}

}  // namespace hh
