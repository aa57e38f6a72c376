// SPDX-License-Identifier: Apache-2.0
#include "pipeline/shared_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>

#include "engine/distributed/together.h"
#include "engine/files/xxh64.h"

namespace hh::pipeline {
namespace {

std::string_view text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

/// "[train] batch = 64 there and batch = 32 on rank 0": the first line in which they differ.
std::string difference(std::string_view theirs, std::string_view first) {
  std::string section;
  while (!theirs.empty() || !first.empty()) {
    const std::string_view a = next_line(theirs), b = next_line(first);
    if (a != b) return fmt::format("{}{} there and {} on rank 0", section, a, b);
    if (a.starts_with('[')) section = std::string(a) + " ";
  }
  return "";
}

template <class Number>
std::vector<Number> numbers_of(const std::vector<std::byte>& bytes) {
  std::vector<Number> numbers(bytes.size() / sizeof(Number));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

/// Each rank's bytes on all; the lowest rank whose bytes aren't rank 0's throws `error` of both.
void check_same(
    Communicator& ranks, const std::string& own,
    const std::function<std::string(std::string_view theirs, std::string_view first)>& error) {
  const auto all = ranks.gather(std::as_bytes(std::span(own)));
  together(ranks, [&] {
    const auto& theirs = all[std::size_t(ranks.rank())];
    if (theirs != all[0]) throw std::invalid_argument(error(text_of(theirs), text_of(all[0])));
  });
}

}  // namespace

Listener listener_of(const Communicator& ranks, const Listener& listener) {
  if (ranks.rank() == 0) return listener;
  Listener other;
  other.warn = [warn = listener.warn, rank = ranks.rank()](const std::string& text) {
    warn(fmt::format("rank {}: {}", rank, text));
  };
  return other;
}

void check_same_recipe(Communicator& ranks, const Recipe& recipe,
                       const std::filesystem::path& folder, bool resuming) {
  if (ranks.size() == 1) return;
  const std::string own = fmt::format("{} {}", resuming ? "--resume" : "--out",
                                      std::filesystem::absolute(folder).string());
  check_same(ranks, own, [&](std::string_view theirs, std::string_view first) {
    return fmt::format("{}, and rank 0 has {}: give all ranks the same", theirs, first);
  });
  check_same(ranks, recipe.to_toml(), [&](std::string_view theirs, std::string_view first) {
    return fmt::format(
        "another recipe than rank 0's: {}: start all with the same recipe and the same --set",
        difference(theirs, first));
  });
}

void check_same_data(Communicator& ranks, const data::Dataset& dataset, const data::Split& split,
                     const std::vector<std::int64_t>& train) {
  if (ranks.size() == 1) return;
  Xxh64 sum;
  for (const auto* items : {&split.query, &split.train, &split.database, &train}) {
    sum.update(std::as_bytes(std::span(*items)));
  }
  for (const std::int64_t item : train) {
    sum.update(dataset.name(item));
    sum.update(std::as_bytes(dataset.labels().of(item)));
  }
  const std::string own = fmt::format("{} images, {} of them for training (check sum {})",
                                      dataset.size(), train.size(), xxh64_text(sum.value()));
  check_same(ranks, own, [&](std::string_view theirs, std::string_view first) {
    return fmt::format(
        "other data than rank 0's: {} there and {} on rank 0: give all ranks the same files "
        "(data.path)",
        theirs, first);
  });
}

retrieval::CodeSet encode_together(Communicator& ranks, const Encoder& encoder,
                                   const data::Dataset& dataset,
                                   const std::vector<std::int64_t>& items, int batch,
                                   const std::string& what) {
  if (ranks.size() == 1) return encoder.encode(dataset, items, what);
  const auto count = std::int64_t(items.size());
  const std::int64_t batches = (count + batch - 1) / batch, n = ranks.size();
  const auto border = [&](std::int64_t rank) {
    return items.begin() + std::ptrdiff_t(std::min(batches * rank / n * batch, count));
  };
  retrieval::CodeSet own;
  together(ranks, [&] {
    own = encoder.encode(dataset, {border(ranks.rank()), border(ranks.rank() + 1)}, what);
  });
  const retrieval::CodesView view = own.codes.view();
  const auto codes = ranks.gather(std::as_bytes(
      std::span(view.words, std::size_t(view.count) * std::size_t(view.row_words()))));
  const auto ids = ranks.gather(std::as_bytes(std::span(own.ids)));
  retrieval::CodeSet whole;
  if (ranks.rank() != 0) return whole;
  for (std::size_t r = 0; r < codes.size(); ++r) {
    const std::vector<std::uint64_t> words = numbers_of<std::uint64_t>(codes[r]);
    const std::vector<std::int64_t> of_rank = numbers_of<std::int64_t>(ids[r]);
    if (of_rank.empty()) continue;  // also without a width
    whole.codes.append({words.data(), std::int64_t(of_rank.size()), encoder.bits()});
    whole.ids.insert(whole.ids.end(), of_rank.begin(), of_rank.end());
  }
  for (const std::int64_t id : whole.ids) {
    const auto labels = dataset.labels().of(id);
    whole.labels.insert(whole.labels.end(), labels.begin(), labels.end());
  }
  whole.classes = dataset.classes();
  return whole;
}

}  // namespace hh::pipeline
