// SPDX-License-Identifier: Apache-2.0
// What the subcommands share: options that all of them take, and how each is added to the program.
#pragma once
#include <cstdint>
#include <limits>
#include <string>

#include "apps/commands/command_line.h"
#include "engine/device/device.h"

namespace hh::apps {

/// Options of every command that runs a network.
struct ComputeOptions {
  std::string device = "auto";
  int threads = 0;
  std::string simd;
  std::string tune;  // "on", "off"; empty: HH_TUNE
  bool verbose = false;

  void add_to(Command command);
  /// Sets threads, instruction set and whether GPUs are tuned, and gives the device. Call it once, before anything runs.
  Device apply() const;
};

/// Of an item.
inline constexpr std::int64_t kLargestId = std::numeric_limits<std::int64_t>::max() - 1;

/// So many threads for the kernels; 0: HH_THREADS, or one per hardware thread where that isn't set.
/// Throws std::invalid_argument for another HH_THREADS than a number in range.
void use_threads(int threads);

/// --allow-changed-data: go on with a split whose images changed (data/experiments/split_file.h).
void add_allow_changed_data(Command command, bool& value);

/// --max-pixels: of the largest image that is read, in millions.
void add_max_pixels(Command command, double& value);

/// --batch and --workers of what encodes images; `batch_help` says what the first is.
void add_batches(Command command, int& batch, int& workers,
                 const char* batch_help = "images at once");

/// The --exif of before it was the model's: says where it went.
void add_exif_gone(Command command);

/// --list-labels: what the numbers of a list are (data/sets/list_file.h); with `paths`, lists may also
/// have none (pipeline/data_source.h).
void add_list_labels(Command command, std::string& value, bool paths);

/// --code-format: how codes stand in a .csv file (retrieval/files/item_files.h).
void add_code_format(Command command, std::string& value);

/// --mix-int8: codes made in int8 and otherwise may meet (retrieval/codes/model_hash.h).
void add_mix_int8(Command command, bool& value);

/// Adds --help's text of examples below the options of a command.
void add_examples(Command command, const std::string& examples);

// One per subcommand, each in its own file. The callback runs it and may throw.
void add_train(Command program);
void add_dataset(Command program);
void add_encode(Command program);
void add_codes(Command program);
void add_eval(Command program);
void add_index(Command program);
void add_search(Command program);
void add_serve(Command program);
void add_verify(Command program);
void add_export(Command program);
void add_info(Command program);
void add_bench(Command program);

/// Thrown by a command that ran but whose outcome is "no" (a failed verify): exit status 1, and no
/// message beyond what was printed.
struct Unsuccessful {};

/// Thrown by a command that a signal stopped before it was done: exit status 128 + its number, so
/// that a script doesn't go on as if it were.
struct Stopped {
  int signal;
};

/// Set when Ctrl-C or a termination signal came; long loops look at it and stop cleanly. A second
/// signal ends the program at once.
bool stop_requested();
/// The signal that asked, or 0.
int stop_signal();
/// For the thread that computes: the handler takes a stack of its own (signal_stack.h).
void catch_stop_signals();

}  // namespace hh::apps
