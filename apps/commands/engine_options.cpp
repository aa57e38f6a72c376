// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/engine_options.h"

namespace hh::apps {

void EngineOptions::add_to(Command command, bool required) {
  Option engine =
      command
          .add_option("--engine", engine_,
                      "kind of server and its URL: postgres postgresql://user@host/database, or "
                      "milvus http://host:19530; passwords from PGPASSFILE or MILVUS_TOKEN")
          .expected(2)
          .allow_extra_args(false)
          .type_name("postgres|milvus URL");
  Option collection =
      command.add_option("--collection", collection_, "name of the collection there");
  engine.needs(collection);
  collection.needs(engine);
  if (!required) return;
  engine.required();
  collection.required();
}

retrieval::CollectionPlace EngineOptions::place() const {
  return {.engine = engine_.at(0), .url = engine_.at(1), .collection = collection_};
}

}  // namespace hh::apps
