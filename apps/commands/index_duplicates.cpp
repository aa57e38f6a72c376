// SPDX-License-Identifier: Apache-2.0
// hybridhash index duplicates: pictures that may be the same.
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands/command.h"
#include "apps/commands/index_follow.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "pipeline/file_record.h"
#include "retrieval/search/duplicates.h"

namespace hh::apps {
namespace {

struct Options {
  std::string index;
  std::vector<std::string> filters;
  int radius = 0, threads = 0;
  bool json = false;
};

void print_group(const retrieval::Index& index, const retrieval::DuplicateGroup& group,
                 bool as_json) {
  const retrieval::IndexItem first = index.item(group.rows[0]);
  const auto file = pipeline::record_in(first.description.metadata);
  nlohmann::json items = nlohmann::json::array();
  for (std::size_t i = 0; i < group.rows.size(); ++i) {
    const retrieval::IndexItem item = index.item(group.rows[i]);
    const auto record = pipeline::record_in(item.description.metadata);
    const bool same = file && record && i > 0 && record->same_content(*file);
    if (as_json) {
      items.push_back({{"id", item.id},
                       {"path", as_utf8(item.description.path)},
                       {"distance", group.distances[i]},
                       {"same_bytes", same}});
    } else {
      if (i == 0) say("\n");
      say("{:>4}  {}  {}{}\n", group.distances[i], item.id, item.description.path,
          same ? "  (the same bytes)" : "");
    }
  }
  if (as_json) say("{}\n", shown_json(items));
}

void duplicates(const Options& o) {
  catch_stop_signals();
  use_threads(o.threads);
  const auto index = retrieval::Index::open(o.index);
  std::vector<retrieval::DuplicateGroup> groups;
  {
    const pipeline::Listener listener = terminal_listener();
    pipeline::Progress progress(listener, "comparing", index.rows());
    groups = retrieval::find_duplicates(index, index.select(o.filters), o.radius,
                                        [&](std::int64_t done) {
                                          progress.update(done);
                                          return !stop_requested();
                                        });
  }
  if (stop_requested()) throw Stopped{stop_signal()};
  std::int64_t more = 0;
  for (const retrieval::DuplicateGroup& group : groups) {
    print_group(index, group, o.json);
    more += std::int64_t(group.rows.size()) - 1;
  }
  if (!o.json) {
    if (!groups.empty()) say("\n");
    say("{}, {} beside the first of each, of {}\n", counted(groups.size(), "group"),
        counted(more, "item"), counted(index.count(), "item"));
  }
}

}  // namespace

void add_index_duplicates(Command index) {
  auto o = std::make_shared<Options>();
  Command command =
      index.add_subcommand("duplicates", "List items whose codes are (nearly) the same");
  command.add_option("index,--index", o->index, "folder of the index").required();
  command.add_option("--radius", o->radius, "bits that may differ from one item to the next")
      .check(within(0, 512))
      .capture_default_str();
  command.add_option("--filter", o->filters, "among items that pass: label=cat, path~old/*")
      .allow_extra_args(false);
  command.add_flag("--json", o->json, "a group a line, as JSON");
  command.add_option("--threads", o->threads, "CPU threads; 0: HH_THREADS, or all")
      .check(within(0, 1024));
  add_examples(command, "  hybridhash index duplicates photos.index --radius 2\n");
  command.callback([o] { duplicates(*o); });
}

}  // namespace hh::apps
