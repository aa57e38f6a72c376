// SPDX-License-Identifier: Apache-2.0
// The program's own input and output: descriptors 0, 1 and 2.
#pragma once
#include <string>

namespace hh::apps {

/// Opens those that are closed on /dev/null, so that no file of ours becomes one of them and gets
/// what is printed. First of all in main().
void open_standard_streams();

/// Whether stdout was: what goes there is lost.
bool output_was_closed();

/// Prints a line and sees to it that it is read now. A failure doesn't throw, as fmt::print's does:
/// a run of days needn't end because its log's disk is full. flush_output tells of it. False, with
/// errno, where it failed.
bool print_now(const std::string& line);

/// For those that print by other means: the errno of a write to stdout that failed.
void note_output_error(int error);

/// The exit status, once everything printed is out: `status`, or where stdout couldn't be written,
/// 2 after a line on stderr. A reader that has gone (`| head`) has what it wanted: 141 without a
/// line, as from those that SIGPIPE ends.
int flush_output(int status);

}  // namespace hh::apps
