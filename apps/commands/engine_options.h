// SPDX-License-Identifier: Apache-2.0
// --engine and --collection: a collection of a server of others, in place of an index or beside it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "apps/commands/command.h"
#include "retrieval/engines/open_collection.h"

namespace hh::apps {

class EngineOptions {
 public:
  /// With `required` both must be given.
  void add_to(Command command, bool required);
  bool given() const { return !engine_.empty(); }
  retrieval::CollectionPlace place() const;

 private:
  std::vector<std::string> engine_;  // name and URL; or empty
  std::string collection_;
};

}  // namespace hh::apps
