// SPDX-License-Identifier: Apache-2.0
// Servers that keep collections, by name. Each is a library beside the program, which links none of
// their clients.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "retrieval/engines/collection.h"

namespace hh::retrieval {

inline constexpr const char* kEngines = "postgres or milvus";

/// Where a collection is.
struct CollectionPlace {
  std::string engine;      // postgres or milvus
  std::string url;         // of the server, without secrets
  std::string collection;  // letters, digits and _, at most kMaxCollectionName, no digit first
};
inline constexpr int kMaxCollectionName = 48;

/// Connects. The collection need not be there. Throws std::invalid_argument for another engine, name or
/// a URL with a password; std::runtime_error where the library isn't there or is of another build; and
/// what a Collection's functions throw.
/// `stopped`: of Collection's constructor.
std::unique_ptr<Collection> open_collection(const CollectionPlace& place,
                                            const std::function<bool()>& stopped = nullptr);

/// What libhh_ENGINE.so exports under these names; the caller deletes the collection.
using OpenCollection = Collection*(const CollectionPlace& place,
                                   const std::function<bool()>& stopped);
using CollectionIdentity = std::uint64_t();
inline constexpr const char* kOpenCollection = "hh_open_collection";
inline constexpr const char* kCollectionBuildIdentity = "hh_collection_build_identity";

}  // namespace hh::retrieval
