// SPDX-License-Identifier: Apache-2.0
// How the system's refusals become exceptions.
#pragma once
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

namespace hh {

/// There is no room for what was to be written: the disk, the user's share of it, or the largest
/// file allowed is full.
struct DiskFull : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What went wrong may be right the next time: an error of a disk or of the network behind it, no
/// memory or no descriptors for the moment.
struct TryAgain : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Whether that is what an errno says.
bool means_full(int error);
bool means_try_again(int error);

/// Throws "PATH: WHAT: the system's reason" by errno: DiskFull, TryAgain or another std::runtime_error.
[[noreturn]] void throw_file_error(const std::filesystem::path& path, const char* what);

/// The same of what the standard library throws: "PATH: the system's reason", of two paths
/// "PATH, PATH: ...", and its own text where it names none.
std::string text_of(const std::system_error& error);

}  // namespace hh
