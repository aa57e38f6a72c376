// SPDX-License-Identifier: Apache-2.0
// Filters in SQL, with the meaning that they have for an index (retrieval/index/filter.h).
#pragma once
#include <span>
#include <string>

#include "retrieval/engines/collection.h"
#include "retrieval/engines/postgres/connection.h"

namespace hh::retrieval::postgres {

/// True for the rows that pass all of them, false for all others.
std::string condition(std::span<const CollectionFilter> filters, Parameters& parameters);

/// Whether it is of a member of the metadata, which may be misspelt.
bool is_of_metadata(const IndexFilter& filter);
/// True for rows whose metadata have the member; with `type` (number or string) as one of it.
std::string has_member(const IndexFilter& filter, const std::string& type, Parameters& parameters);

}  // namespace hh::retrieval::postgres
