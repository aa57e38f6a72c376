// SPDX-License-Identifier: Apache-2.0
// The program: a table of subcommands, and errors turned into one line and an exit status.
//   0 done, 1 the answer is no (a failed verify or dataset check), 2 the user can mend it, 3 it is our fault,
//   75 it may go well the next time (no memory, a disk's error), 128 + a signal: it was stopped by it before it
//   was done
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "apps/commands/command.h"
#include "apps/terminal/shown_text.h"
#include "apps/terminal/standard_streams.h"
#include "apps/terminal/terminal_log.h"
#include "engine/device/backend.h"
#include "engine/device/device.h"
#include "engine/distributed/ranks.h"
#include "engine/files/file_error.h"
#include "kernels/core/short_spells.h"
#include "kernels/core/simd.h"

namespace {

constexpr int kTryAgain = 75;  // EX_TEMPFAIL of sysexits.h, which batch systems know

void print_error(const std::string& text) {
  const hh::Communicator& all = hh::ranks();
  fmt::print(stderr, "hybridhash: {}{}\n",
             all.size() == 1 ? "" : fmt::format("rank {}: ", all.rank()),
             hh::apps::shown_text(text));
}

/// "(see hybridhash index push --help)": of the command that was given.
std::string see_help(const CLI::App& program) {
  std::string names = "hybridhash";
  for (auto parsed = program.get_subcommands(); !parsed.empty();
       parsed = parsed.back()->get_subcommands()) {
    names += " " + parsed.back()->get_name();
  }
  return "(see " + names + " --help)";
}

/// CLI11 would only say that a command is missing.
void check_command(const CLI::App& program, const std::string& word) {
  std::string names;
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == word) return;
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  throw std::invalid_argument("there is no command '" + word + "'; there are: " + names);
}

/// Of the exception in flight: says it in one line where there is something to say.
int status_of_error() {
  using namespace hh::apps;
  try {
    throw;
  } catch (const Unsuccessful&) {
    return 1;
  } catch (const hh::OtherRankFailed&) {
    return 0;  // leave_ranks() gives the other's
  } catch (const Stopped& stopped) {
    return 128 + stopped.signal;
  } catch (const std::bad_alloc&) {
    print_error("out of memory; use a smaller batch or image");
    return kTryAgain;
  } catch (const hh::OutOfMemory& error) {
    print_error(error.what());
    return kTryAgain;
  } catch (const hh::TryAgain& error) {
    print_error(error.what());
    return kTryAgain;
  } catch (const std::invalid_argument& error) {  // HH_REQUIRE
    print_error(error.what());
    return 2;
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) != 0) {  // printing failed, of which flush_output tells
      note_output_error(error.code().value());
      return 0;
    }
    print_error(hh::text_of(error));
    return hh::means_try_again(error.code().value()) ? kTryAgain : 2;
  } catch (const std::runtime_error& error) {  // files, devices
    print_error(error.what());
    return 2;
  } catch (const std::exception& error) {
    print_error(fmt::format("an error of the program itself: {}", error.what()));
    return 3;
  }
}

int run(int argc, char** argv) {
  using namespace hh::apps;
  CLI::App program{
      "HybridHash: train a network that turns images into short binary codes, and search them."};
  program.name("hybridhash");
  program.require_subcommand(1);
  program.set_version_flag("--version", HH_VERSION);
  const Command commands(program);
  add_train(commands);
  add_dataset(commands);
  add_encode(commands);
  add_codes(commands);
  add_eval(commands);
  add_index(commands);
  add_search(commands);
  add_serve(commands);
  add_verify(commands);
  add_export(commands);
  add_info(commands);
  add_bench(commands);
  log_to_stderr();  // results go to stdout
  try {
    hh::cpu::simd_from_environment();
    use_threads(0);
    if (argc > 1 && argv[1][0] != '-') check_command(program, argv[1]);
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& done) {  // --help, --version
    std::ostringstream text;
    program.exit(done, text);
    std::fputs(text.str().c_str(), stdout);
    return 0;
  } catch (const CLI::ConversionError& error) {
    // Numbers are checked before they are converted, so this is a flag or a word of its own.
    std::string text = error.what();
    constexpr std::string_view kTheirs = "Could not convert: ";
    if (text.starts_with(kTheirs)) text = text.substr(kTheirs.size()) + ": it doesn't take that";
    print_error(fmt::format("{} {}", text, see_help(program)));
    return 2;
  } catch (const CLI::ParseError& error) {
    print_error(fmt::format("{} {}", error.what(), see_help(program)));
    return 2;
  } catch (...) {
    return status_of_error();
  }
}

}  // namespace

int main(int argc, char** argv) {
  hh::apps::open_standard_streams();
  hh::cpu::ask_for_short_spells();  // this thread computes
  int status = run(argc, argv);
  if (hh::ranks().size() > 1) std::fflush(stdout);  // leaving them may end this process
  status = hh::leave_ranks(status);
  hh::close_devices();
  return hh::apps::flush_output(status);
}
