// SPDX-License-Identifier: Apache-2.0
#include "apps/report/searched.h"

namespace hh::apps {
namespace {

class SearchedIndex final : public Searched {
 public:
  explicit SearchedIndex(const retrieval::Index& index)
      : Searched(retrieval::CollectionAbout::of(index.manifest())), index_(index) {}
  std::string place() const override { return index_.folder().string(); }
  const char* kind() const override { return "index"; }
  std::int64_t count() const override { return index_.count(); }
  std::string method(const retrieval::SearchAnswer& answer) const override {
    return to_string(answer.method);
  }
  std::int64_t id(std::int64_t row) const override { return index_.ids()[std::size_t(row)]; }
  retrieval::CollectionItem item(std::int64_t row) const override {
    return retrieval::item_of_row(index_, row);
  }

 private:
  const retrieval::Index& index_;
};

}  // namespace

std::unique_ptr<Searched> searched_index(const retrieval::Index& index) {
  return std::make_unique<SearchedIndex>(index);
}

}  // namespace hh::apps
