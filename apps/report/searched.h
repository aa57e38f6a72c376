// SPDX-License-Identifier: Apache-2.0
// Where was searched, as far as a report tells of it: an index, or a collection of another server.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "retrieval/engines/collection.h"
#include "retrieval/search/index_search.h"

namespace hh::apps {

class Searched {
 public:
  explicit Searched(retrieval::CollectionAbout about) : about_(std::move(about)) {}
  virtual ~Searched() = default;
  Searched(const Searched&) = delete;
  Searched& operator=(const Searched&) = delete;

  /// Bits, model, classes.
  const retrieval::CollectionAbout& about() const { return about_; }
  /// For people, and the member of a JSON object that says it.
  virtual std::string place() const = 0;
  virtual const char* kind() const = 0;  // "index" or "collection"
  virtual std::int64_t count() const = 0;
  /// How was searched.
  virtual std::string method(const retrieval::SearchAnswer& answer) const = 0;

  // Of a hit's row.
  virtual std::int64_t id(std::int64_t row) const = 0;
  virtual retrieval::CollectionItem item(std::int64_t row) const = 0;

 private:
  retrieval::CollectionAbout about_;
};

/// Keeps the reference.
std::unique_ptr<Searched> searched_index(const retrieval::Index& index);

}  // namespace hh::apps
