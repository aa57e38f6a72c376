// SPDX-License-Identifier: Apache-2.0
// hybridhash codes: work on code files.
#include <filesystem>

#include "apps/commands/command.h"
#include "apps/commands/outputs.h"
#include "apps/terminal/shown_text.h"
#include "engine/text/counted.h"
#include "retrieval/codes/parts.h"

namespace hh::apps {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> parts;
  std::string out;
};

/// Files as they are, folders by their parts.
std::vector<fs::path> files_of(const std::vector<std::string>& places) {
  std::vector<fs::path> files;
  for (const std::string& place : places) {
    if (!fs::is_directory(place)) {
      files.emplace_back(place);
      continue;
    }
    const auto parts = retrieval::part_files(place);
    HH_REQUIRE(!parts.empty(), place
                                   << ": it holds no parts (part-00003-of-01000.codes): hybridhash "
                                      "encode --out FOLDER/ writes them");
    files.insert(files.end(), parts.begin(), parts.end());
  }
  return files;
}

void merge(const Options& o) {
  const std::vector<fs::path> files = files_of(o.parts);
  std::vector<NamedPath> inputs;
  for (const fs::path& file : files) inputs.push_back({"the part", file});
  HH_REQUIRE(o.out != "-",
             "--out -: merged codes go to a file; "
             "use ./- for one of this name");
  check_output_files({{"--out", o.out}}, inputs);
  const std::int64_t count = retrieval::merge_parts(files, o.out);
  say("{}: {} of {}\n", o.out, counted(count, "code"), counted(files.size(), "part"));
}

}  // namespace

void add_codes(Command program) {
  auto o = std::make_shared<Options>();
  Command codes = program.add_subcommand("codes", "Put code files of shards together");
  codes.require_subcommand();
  Command command = codes.add_subcommand(
      "merge", "One code file of all parts of a list, as one process writes it");
  command.add_option("parts", o->parts, "the parts, or folders that hold them").required();
  command.add_option("--out", o->out, "code file to write").required();
  add_examples(command, "  hybridhash codes merge parts/ --out all.codes\n");
  command.callback([o] { merge(*o); });
}

}  // namespace hh::apps
