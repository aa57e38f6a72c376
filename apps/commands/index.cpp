// SPDX-License-Identifier: Apache-2.0
// hybridhash index: make, change, describe and export an index of codes.
#include "retrieval/index/index.h"

#include <fmt/format.h>

#include <chrono>

#include "apps/commands/command.h"
#include "apps/commands/index_follow.h"
#include "apps/commands/index_info.h"
#include "apps/commands/outputs.h"
#include "apps/terminal/elapsed.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "engine/text/counted.h"
#include "pipeline/data_source.h"
#include "retrieval/codes/class_names.h"
#include "retrieval/files/item_files.h"
#include "retrieval/index/snapshot.h"

namespace hh::apps {
namespace {

using retrieval::Index, retrieval::IndexWriter, retrieval::ItemSet, retrieval::SameId;

struct Options {
  std::string index, codes, code_format = "auto", model, dtype = "f32", out, format, path, metadata;
  std::vector<std::string> others, filters, labels;
  std::vector<std::int64_t> ids;
  std::int64_t id = 0;
  int bits = 0;  // of the codes of a file; 0: as many as it has
  pipeline::SourceOptions source;
  pipeline::EncoderOptions encoder;
  ComputeOptions compute;
  bool copy = false, keep_outputs = false, overwrite = false, replace = false, renumber = false,
       json = false, mix_int8 = false;

  retrieval::Int8Codes int8() const {
    return mix_int8 ? retrieval::Int8Codes::kMixed : retrieval::Int8Codes::kApart;
  }
  SameId same_id() const {
    return replace ? SameId::kReplace : renumber ? SameId::kRenumber : SameId::kRefuse;
  }
};

/// Codes of a file, or of images through a model; those with `outputs`. `bits` of a code, where an
/// index has them already, else 0.
ItemSet items_of(const Options& o, bool outputs, int bits = 0) {
  HH_REQUIRE(o.codes.empty() != o.model.empty(),
             "what to index? Give --codes, or --model and images");
  if (!o.codes.empty()) {
    return retrieval::read_items(
        o.codes, {.format = retrieval::code_format_named(o.code_format), .bits = bits});
  }
  const Device device = o.compute.apply();
  const auto model = pipeline::load_model(o.model, device, network_type(o.dtype));
  ItemSet items;
  pipeline::EncoderOptions encoder = o.encoder;
  encoder.keep_outputs = outputs;
  encoder.listener = terminal_listener();
  items.set = pipeline::encode_source(*model, pipeline::open_source(model->info, o.model, o.source),
                                      encoder);
  return items;
}

/// `more`: of how it went.
void tell(const Index& index, const std::string& what, const std::string& more = "") {
  say("{}: {}; {} of {}{}\n", index.folder().string(), what, counted(index.count(), "item"),
      counted(index.bits(), "bit"), more);
}

void build(const Options& o) {
  std::vector<NamedPath> inputs = inputs_of(o.model, o.source);
  inputs.push_back({"--codes", o.codes});
  check_output_folder({"--out", o.out}, inputs);
  HH_REQUIRE(o.bits == 0 || !o.codes.empty(),
             "--bits " << o.bits << " is for --codes: a model's codes have their own length");
  const auto start = std::chrono::steady_clock::now();
  const ItemSet items = items_of(o, o.keep_outputs, o.bits);
  HH_REQUIRE(o.bits == 0 || items.set.codes.bits() == o.bits,
             "--bits " << o.bits << ": the codes of " << o.codes << " have "
                       << counted(items.set.codes.bits(), "bit")
                       << "; leave --bits out to take them all");
  {
    const pipeline::Listener listener = terminal_listener();
    pipeline::Progress progress(listener, "describing", items.set.count(), 0, "items");
    retrieval::build_index(o.out, items, o.overwrite, o.keep_outputs,
                           [&](std::int64_t done) { progress.update(done); });
  }
  const double seconds = seconds_since(start);
  tell(Index::open(o.out), "built",
       o.model.empty() ? "" : "; " + speed_text(seconds, items.set.count()));
}

/// Says how the items' classes become the index's, where that isn't plain.
void warn_of_classes(const Index& index, const ItemSet& items) {
  const retrieval::IndexManifest& has = index.manifest();
  const std::string note = retrieval::enter_classes(items.set, has.classes, has.class_names).note;
  if (!note.empty()) terminal_listener().warn(index.folder().string() + ": " + note);
}

void add(const Options& o) {
  const retrieval::IndexManifest before = retrieval::read_index_manifest(o.index);
  retrieval::check_is_no_snapshot(o.index);
  const ItemSet items = items_of(o, before.outputs, before.bits);
  IndexWriter writer(o.index);
  warn_of_classes(writer.index(), items);
  const std::int64_t replaced = writer.add(items, o.same_id(), o.int8());
  tell(writer.index(), replaced > 0 ? fmt::format("{} added in place of {}",
                                                  counted(items.set.count(), "item"), replaced)
                                    : counted(items.set.count(), "item") + " added");
}

void remove(const Options& o) {
  HH_REQUIRE(o.ids.empty() != o.filters.empty(), "which items? Give either --ids or --filter");
  IndexWriter writer(o.index);
  std::vector<std::int64_t> ids = o.ids;
  if (!o.filters.empty()) {
    const retrieval::RowMask mask = writer.index().select(o.filters);
    for (std::int64_t row = 0; row < mask.rows(); ++row) {
      if (mask.test(row)) ids.push_back(writer.index().ids()[std::size_t(row)]);
    }
  }
  const std::int64_t removed = writer.remove(ids);
  tell(writer.index(), counted(removed, "item") + " deleted");
}

void update(const Options& o, const Command& command) {
  IndexWriter writer(o.index);
  const auto row = writer.index().row_of(o.id);
  HH_REQUIRE(row.has_value(), o.index << ": there is no item with id " << o.id
                                      << " (hybridhash index export lists them)");
  retrieval::Description description = writer.index().item(*row).description;
  if (command.count("--path") > 0) description.path = o.path;
  if (command.count("--metadata") > 0) description.metadata = o.metadata;
  if (command.count("--label") > 0) {
    description.labels.clear();
    for (const std::string& label : o.labels) {
      description.labels.push_back(writer.index().class_of(label));
    }
  }
  writer.update(o.id, description);
  tell(writer.index(), fmt::format("item {} updated", o.id));
}

void compact(const Options& o) {
  IndexWriter writer(o.index);
  const std::int64_t before = writer.index().rows();
  writer.compact();
  tell(writer.index(), counted(before - writer.index().rows(), "deleted row") + " removed");
}

void snapshot(const Options& o) {
  check_output_folder({"--out", o.out}, {{"index", o.index}});
  const retrieval::Snapshot made = retrieval::make_snapshot(o.index, o.out, o.copy);
  say("{}: {} of {}{}\n", o.out, counted(made.items, "item"), o.index,
      made.linked ? ", by links: it takes little room, and is only read"
      : o.copy    ? ", copied"
                  : ", copied, since links aren't possible there");
}

void merge(const Options& o) {
  // All are read before anything is written, so that a broken one changes nothing.
  std::vector<ItemSet> sets;
  for (const std::string& other : o.others) sets.push_back(Index::open(other).contents());
  IndexWriter writer(o.index);
  std::int64_t count = 0;
  for (const ItemSet& items : sets) {
    warn_of_classes(writer.index(), items);
    writer.add(items, o.same_id(), o.int8());
    count += items.set.count();
  }
  tell(writer.index(), fmt::format("{} of {} added", counted(count, "item"),
                                   counted(sets.size(), "index", "indexes")));
}

void export_items(const Options& o) {
  check_output_files({{"--out", o.out}}, {});
  const Index index = Index::open(o.index);
  const retrieval::ItemFormat format = retrieval::item_format(o.format, o.out);
  retrieval::write_items(o.out, index.contents(), format);
  tell(index, "exported to " + o.out);
  using retrieval::ItemFormat;
  const bool bytes =
      format == ItemFormat::kNpy || format == ItemFormat::kFaiss || format == ItemFormat::kCsv;
  if (bytes && index.bits() % 8 != 0) {
    say("its codes are filled up to whole bytes: hybridhash index build takes them back by "
        "--bits {}\n",
        index.bits());
  }
}

void info(const Options& o) { print_index(o.index, o.json); }

void add_index_option(Command command, Options& o) {
  command.add_option("index,--index", o.index, "folder of the index").required();
}

void add_item_options(Command command, Options& o) {
  command.add_option("--codes", o.codes,
                     "code file, .npy (uint8 [n, bits/8]), FAISS binary index, or .csv");
  add_code_format(command, o.code_format);
  command.add_option("--model", o.model, "or images, through this model:").check(existing_file());
  command.add_option("--part", o.source.part, "query, train, database or all, of its own data");
  command
      .add_option("--set", o.source.settings,
                  "for --part: key=value of the model's recipe, as data.path=/images")
      .allow_extra_args(false);
  command.add_option("--folder", o.source.folder, "all images of a folder, at any depth");
  command.add_option("--class-folder", o.source.class_folder,
                     "the same, with a sub-folder per class");
  command.add_option("--list", o.source.list, "list file: path l_1 ... l_n a line");
  command.add_option("--image-root", o.source.image_root, "what the list's paths start from");
  add_list_labels(command, o.source.list_labels, true);
  add_allow_changed_data(command, o.source.allow_changed_data);
  add_max_pixels(command, o.source.max_pixels);
  add_batches(command, o.encoder.batch, o.encoder.workers);
  command.add_flag("--skip-bad", o.encoder.skip_bad, "leave out images that can't be read");
  command.add_option("--dtype", o.dtype, "f32, bf16 or int8 (on a CPU), when encoding")
      .one_of({"f32", "bf16", "int8"})
      .capture_default_str();
  o.compute.add_to(command);
}

void add_same_id_options(Command command, Options& o) {
  const Option replace = command.add_flag("--replace", o.replace, "replace items of the same id");
  command.add_flag("--renumber", o.renumber, "give all of them new ids").excludes(replace);
  add_mix_int8(command, o.mix_int8);
}

void add_index_snapshot(Command index) {
  auto o = std::make_shared<Options>();
  Command sub =
      index.add_subcommand("snapshot", "Keep the state of this moment, while others go on writing");
  sub.callback([o] { snapshot(*o); });
  add_index_option(sub, *o);
  sub.add_option("--out", o->out, "folder to make").required();
  sub.add_flag("--copy", o->copy, "copy the files, for an index that can be changed itself");
}

}  // namespace

void add_index(Command program) {
  auto o = std::make_shared<Options>();
  Command index = program.add_subcommand("index", "Make and change an index of codes");
  index.require_subcommand();
  add_examples(
      index,
      "  hybridhash index build --codes database.codes --out photos.index\n"
      "  hybridhash index add photos.index --model best.safetensors --folder new --renumber\n"
      "  hybridhash index sync photos --index photos.index --model best.safetensors\n"
      "  hybridhash index duplicates photos.index --radius 2\n"
      "  hybridhash index delete photos.index --filter label=cat\n"
      "  hybridhash index export photos.index --out photos.csv\n");
  const auto command = [&](const char* name, const char* what, void (*run)(const Options&)) {
    Command sub = index.add_subcommand(name, what);
    sub.callback([o, run] { run(*o); });
    return sub;
  };

  Command sub = command("build", "Make an index", build);
  sub.add_option("--out", o->out, "folder to make").required();
  sub.add_flag("--overwrite", o->overwrite, "replace an index that is there");
  sub.add_flag("--keep-outputs", o->keep_outputs,
               "keep the network's real-valued outputs too, for search --rerank (4 bytes a bit)");
  sub.add_option("--bits", o->bits,
                 "length of the codes of an .npy, FAISS or .csv file, where it isn't all of their "
                 "bytes' bits")
      .check(within(1, retrieval::kMaxBits));
  add_item_options(sub, *o);

  sub = command("add", "Add items", add);
  add_index_option(sub, *o);
  add_item_options(sub, *o);
  add_same_id_options(sub, *o);

  sub = command("delete", "Delete items", remove);
  add_index_option(sub, *o);
  // One value a flag, so that the index may stand behind them.
  sub.add_option("--ids", o->ids, "ids, with commas")
      .delimiter(',')
      .check(within(std::int64_t{0}, kLargestId))
      .allow_extra_args(false);
  sub.add_option("--filter", o->filters, "all items that pass: label=cat, path~old/*, year<2020")
      .allow_extra_args(false);

  sub = index.add_subcommand("update", "Change what is known of an item");
  sub.callback([o, sub] { update(*o, sub); });
  add_index_option(sub, *o);
  sub.add_option("--id", o->id, "the item").required().check(within(std::int64_t{0}, kLargestId));
  sub.add_option("--path", o->path, "its new path");
  sub.add_option("--label", o->labels, "its classes, by name or number").allow_extra_args(false);
  sub.add_option("--metadata", o->metadata, "a JSON object");

  sub = command("info", "Describe and check an index", info);
  add_index_option(sub, *o);
  sub.add_flag("--json", o->json, "as one line of JSON");

  sub = command("compact", "Give back the space of deleted items", compact);
  add_index_option(sub, *o);

  add_index_snapshot(index);
  add_index_sync(index);
  add_index_duplicates(index);
  add_index_reencode(index);
  add_index_push(index);
  add_index_pull(index);

  sub = command("merge", "Add all items of other indexes", merge);
  add_index_option(sub, *o);
  sub.add_option("others", o->others, "the other indexes").required();
  add_same_id_options(sub, *o);

  sub = command("export", "Write the items to a file", export_items);
  add_index_option(sub, *o);
  sub.add_option("--out", o->out, "file to write").required();
  sub.add_option("--format", o->format,
                 std::string(retrieval::kItemFormats) + "; otherwise by the file's ending");
}

}  // namespace hh::apps
