// SPDX-License-Identifier: Apache-2.0
// hybridhash encode: images to codes, all of them or one shard of a list.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/commands/command.h"
#include "apps/commands/encode_results.h"
#include "apps/commands/outputs.h"
#include "apps/terminal/elapsed.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "apps/terminal/standard_streams.h"
#include "data/streams/input.h"
#include "engine/files/file_error.h"
#include "engine/text/counted.h"
#include "pipeline/file_record.h"
#include "pipeline/stream_encoder.h"
#include "retrieval/codes/parts.h"

namespace hh::apps {
namespace {

namespace fs = std::filesystem;
using retrieval::PartOfList;

constexpr const char* kStdout = "-";

struct Options {
  std::string model, out, npy, npy_outputs, dtype = "f32", shard, on_bad = "fail", lines = "tsv";
  pipeline::SourceOptions source;
  pipeline::EncoderOptions encoder;
  ComputeOptions compute;
  bool json = false;

  bool to_stdout() const { return out == kStdout; }
  /// Codes or arrays go to where stdout leads, so nothing else may.
  bool stdout_taken() const {
    struct stat out_status {
    }, mine{};
    if (::fstat(STDOUT_FILENO, &mine) != 0) return to_stdout();
    const auto leads_there = [&](const std::string& path) {
      return !path.empty() && ::stat(path.c_str(), &out_status) == 0 &&
             out_status.st_dev == mine.st_dev && out_status.st_ino == mine.st_ino;
    };
    return to_stdout() || leads_there(out) || leads_there(npy) || leads_there(npy_outputs);
  }
  bool to_folder() const {
    std::error_code ignored;
    return !to_stdout() && (out.ends_with('/') || fs::is_directory(out, ignored));
  }
  bool skips() const { return encoder.skip_bad || on_bad != "fail"; }
  /// The file of --on-bad skip:FILE; empty: none.
  std::string bad_file() const {
    constexpr std::string_view kSkip = "skip:";
    return on_bad.starts_with(kSkip) ? on_bad.substr(kSkip.size()) : "";
  }
};

/// The list or archive of shards, which is read once for its sum and again for its images: what
/// changes between would make a part that says it is of the one and holds the other.
class Unchanged {
 public:
  explicit Unchanged(const pipeline::SourceOptions& source)
      : file_(source.list.empty() ? source.tar : source.list),
        before_(pipeline::record_of(file_)) {}
  void check() const {
    const auto now = pipeline::record_of(file_);
    if (now && before_ && now->same_time(*before_)) return;
    throw TryAgain(file_ +
                   ": it changed while it was encoded: leave it alone, and run the shards again");
  }

 private:
  std::string file_;
  std::optional<pipeline::FileRecord> before_;
};

/// For --on-bad; empty: right.
std::string check_on_bad(const std::string& text) {
  if (text == "skip:-") return "skip:-: the list goes to a file; use skip:./- for one of this name";
  const bool right =
      text == "fail" || text == "skip" || (text.starts_with("skip:") && text.size() > 5);
  return right ? "" : text + ": use fail, skip or skip:FILE";
}

std::optional<PartOfList> shard_of(const Options& o) {
  HH_REQUIRE(o.shard.empty() || !o.source.list.empty() || !o.source.tar.empty(),
             "--shard " << o.shard << ": shards are of a --list or a --tar");
  if (!o.shard.empty()) return PartOfList::named(o.shard);
  return o.to_folder() ? std::optional(PartOfList{}) : std::nullopt;
}

void check_together(const Options& o) {
  HH_REQUIRE(!o.to_stdout() || !output_was_closed(),
             "--out -: stdout is closed: give it a reader, or a file by --out FILE");
  HH_REQUIRE(!o.out.empty() || !o.npy.empty() || !o.npy_outputs.empty(),
             "where to? Give --out, --npy or --npy-outputs");
  HH_REQUIRE(!o.json || !o.stdout_taken(),
             "--json and codes on stdout: one of them; leave --json out or give --out FILE");
  HH_REQUIRE(!o.source.list_null || !o.source.list.empty(), "--null is for --list");
}

/// One line about what was done: on stdout, unless the codes are there.
void tell(const Options& o, const nlohmann::ordered_json& facts, const std::string& text) {
  if (o.json) {
    fmt::print("{}\n", shown_json(facts));
  } else if (o.stdout_taken()) {
    fmt::print(stderr, "{}\n", shown_text(text));
  } else {
    say("{}\n", text);
  }
}

nlohmann::ordered_json facts_of(const Options& o, const std::string& out,
                                const retrieval::CodeSet& about) {
  nlohmann::ordered_json facts{{"source", about.source}, {"out", out}};
  facts["bits"] = about.codes.bits();
  facts["model_hash"] = about.model_hash;
  if (about.part) {
    facts["shard"] = fmt::format("{}/{}", about.part->number, about.part->count);
    facts["base"] = about.part->base;
    facts["lines"] = about.part->end() - about.part->base;
  }
  if (!o.bad_file().empty()) facts["bad_file"] = o.bad_file();
  return facts;
}

/// The part's file is there: that of this list by this model is the work done, any other is an error.
void take_part_as_it_is(const Options& o, const std::string& file,
                        const retrieval::CodeSet& about) {
  const std::string differs = retrieval::other_part(file, about, o.encoder.keep_outputs);
  HH_REQUIRE(differs.empty(), file << ": it is there already, and " << differs
                                   << ": give another folder, or remove it");
  for (const auto& [option, array] :
       {std::pair("--npy", o.npy), std::pair("--npy-outputs", o.npy_outputs)}) {
    HH_REQUIRE(array.empty() || fs::exists(array),
               file << ": it is there already, and " << array << " isn't: leave " << option
                    << " out, or remove the part so that both are made");
  }
  nlohmann::ordered_json facts = facts_of(o, file, about);
  facts["already_there"] = true;
  tell(o, facts, file + ": is there already, of this list and this model");
}

pipeline::StreamEncoderOptions encoder_options(const Options& o, EncodeResults& results) {
  pipeline::StreamEncoderOptions options{
      .batch = o.encoder.batch,
      .workers = o.encoder.workers,
      .skip_bad = o.skips(),
      .keep_outputs = o.encoder.keep_outputs || !o.npy_outputs.empty(),
      .may_be_empty = !o.bad_file().empty(),  // which says why
      .listener = terminal_listener(),
      .check_stop =
          [] {
            if (!stop_requested()) return;
            fmt::print(stderr, "hybridhash: stopped by a signal: no code file was written\n");
            throw Stopped{stop_signal()};
          },
      .codes = [&](const retrieval::CodeSet& rows) { results.add(rows); },
      .bad = [&](const data::StreamedBatch::Bad& bad) { results.add_bad(bad); }};
  if (!o.bad_file().empty()) return options;
  const pipeline::Listener listener = options.listener;
  options.bad = [listener](const data::StreamedBatch::Bad& bad) {
    listener.warn(fmt::format("skipped {}: {}", bad.location, bad.error));
  };
  return options;
}

void run(const Options& o) {
  check_together(o);
  const std::optional<PartOfList> shard = shard_of(o);
  const Unchanged unchanged(o.source);
  const pipeline::ModelHead head = pipeline::read_model_head(o.model, network_type(o.dtype));
  std::optional<PartOfList> part;
  if (shard) part = pipeline::describe_part(head.info, o.source, *shard, o.dtype);
  const std::string file = o.to_stdout()   ? ""
                           : o.to_folder() ? (fs::path(o.out) / part_file_name(*part)).string()
                                           : o.out;
  check_output_files({{"--out", file},
                      {"--npy", o.npy},
                      {"--npy-outputs", o.npy_outputs},
                      {"--on-bad", o.bad_file()}},
                     inputs_of(o.model, o.source));
  pipeline::OpenStream stream = pipeline::open_stream(head.info, o.model, o.source, part);
  const retrieval::CodeSet about = pipeline::about_codes(head, stream, part);
  if (o.to_folder()) {
    if (fs::exists(file)) return take_part_as_it_is(o, file, about);
    check_is_folder({"--out", o.out});
    fs::create_directories(o.out);
  }
  const Device device = o.compute.apply();
  const auto model = pipeline::load_model(o.model, device, network_type(o.dtype));
  catch_stop_signals();
  EncodeResults results(
      {.codes = file,
       .lines = o.to_stdout(),
       .line_format = o.lines == "tsv" ? retrieval::CodeLines::kTsv : retrieval::CodeLines::kJson,
       .npy = o.npy,
       .npy_outputs = o.npy_outputs,
       .bad = o.bad_file(),
       .keep_outputs = o.encoder.keep_outputs},
      about);
  const pipeline::StreamEncoderOptions options = encoder_options(o, results);
  const auto start = std::chrono::steady_clock::now();
  const pipeline::StreamCounts counts = pipeline::encode_stream(*model, stream, about, options);
  const double seconds = std::max(seconds_since(start), 1e-9);
  if (shard) unchanged.check();
  results.finish();
  if (counts.bad > 0) {
    options.listener.warn(counted(counts.bad, "bad image") + " skipped" +
                          (o.bad_file().empty() ? "" : ": " + o.bad_file() + " lists them"));
  }
  nlohmann::ordered_json facts = facts_of(o, file, about);
  facts["already_there"] = false;
  facts["codes"] = counts.codes;
  facts["bad"] = counts.bad;
  facts["device"] = to_string(device);
  facts["seconds"] = seconds;
  facts["images_per_second"] = double(counts.codes) / seconds;
  tell(o, facts,
       fmt::format("{}: {} of {} in {} on {} ({:.0f} images/s)", stream.name,
                   counted(counts.codes, "code"), counted(about.codes.bits(), "bit"),
                   duration_text(seconds), to_string(device), double(counts.codes) / seconds));
}

void add_sources(Command command, pipeline::SourceOptions& source) {
  command.add_option("--part", source.part,
                     "query, train, database or all, of the model's own data");
  command.add_option("--split", source.split,
                     "split.json for --part; otherwise that beside the model");
  command
      .add_option("--set", source.settings,
                  "for --part: key=value of the model's recipe, as data.path=/images")
      .take_all();
  command.add_option("--folder", source.folder, "all images of a folder, at any depth");
  command.add_option("--class-folder", source.class_folder,
                     "the same, with a sub-folder per class");
  command.add_option("--list", source.list,
                     "list file, or - for stdin: a path a line, or path l_1 ... l_n (a file only)");
  command.add_flag("--null", source.list_null, "the list's paths end in zero bytes: find -print0");
  command.add_option("--image-root", source.image_root, "what the list's paths start from");
  add_list_labels(command, source.list_labels, true);
  command.add_option("--tar", source.tar,
                     "tar archive of images, or - for stdin; it isn't unpacked");
  add_allow_changed_data(command, source.allow_changed_data);
  command.add_option("images", source.files, "image files");
  command
      .add_option(
          "--decode", source.decode,
          "JPEGs: whole; scaled: at 1/2, 1/4 or 1/8 where enough pixels are left, faster for "
          "large photographs, and a few bits of codes in a thousand differ; auto: as the "
          "model was trained")
      .one_of({"auto", "whole", "scaled"})
      .capture_default_str();
  add_max_pixels(command, source.max_pixels);
  add_exif_gone(command);
}

void add_results(Command command, Options& o) {
  command.add_option("--out", o.out,
                     "code file to write; - for lines on stdout; a folder (DIR/) for parts");
  command
      .add_option("--shard", o.shard,
                  "i/n: only the i-th of n parts of --list or --tar, counted from 0")
      .check({[](const std::string& text) {
                return PartOfList::named(text) ? ""
                                               : fmt::format(
                                                     "{}: use NUMBER/COUNT, as 3/1000: from 0 to "
                                                     "the count less 1, of 1 to {} parts",
                                                     text, PartOfList::kMaxCount);
              },
              ""});
  command.add_option("--lines", o.lines, "what --out - writes: tsv (id, code, name) or json")
      .one_of({"tsv", "json"})
      .capture_default_str();
  command.add_option("--npy", o.npy, "also the packed codes, uint8 [n, bits/8]");
  command.add_option("--npy-outputs", o.npy_outputs,
                     "also the real-valued codes, float32 [n, bits]");
  command.add_flag("--outputs", o.encoder.keep_outputs, "keep real-valued codes in the code file");
  command
      .add_option("--on-bad", o.on_bad,
                  "images that can't be read: fail; skip; or skip:FILE, which lists them (id, "
                  "name and reason, with tabs)")
      .check({check_on_bad, ""})
      .capture_default_str();
  command.add_flag("--skip-bad", o.encoder.skip_bad, "the same as --on-bad skip");
  command.add_flag("--json", o.json, "what was done as one line of JSON on stdout");
}

}  // namespace

void add_encode(Command program) {
  auto options = std::make_shared<Options>();
  Command command = program.add_subcommand("encode", "Turn images into binary codes");
  command.add_option("--model", options->model, "model file or checkpoint of a training run")
      .required()
      .check(existing_file());
  add_sources(command, options->source);
  add_results(command, *options);
  pipeline::EncoderOptions& encoder = options->encoder;
  add_batches(command, encoder.batch, encoder.workers);
  command.add_option("--dtype", options->dtype, "f32, bf16, int8 (on a CPU) or f16 (on a GPU)")
      .one_of({"f32", "bf16", "int8", "f16"})
      .capture_default_str();
  options->compute.add_to(command);
  add_examples(
      command,
      "  hybridhash encode --model runs/mine/best.safetensors --part database --out db.codes\n"
      "  hybridhash encode --model runs/mine/best.safetensors --folder photos --out photos.codes\n"
      "  hybridhash encode --model runs/mine/best.safetensors cat.jpg dog.png --npy two.npy\n"
      "  hybridhash encode --model best.safetensors --list all.txt --shard 3/1000 --out parts/\n"
      "  find photos -print0 | hybridhash encode --model best.safetensors --list - --null --out "
      "-\n");
  command.callback([options] { run(*options); });
}

}  // namespace hh::apps
