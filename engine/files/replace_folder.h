// SPDX-License-Identifier: Apache-2.0
// Replacing a folder by another that is complete.
#pragma once
#include <filesystem>
#include <functional>

namespace hh {

/// Puts `made` in the place of `place`, in the same folder; what was there is removed. When it
/// throws, `place` is what it was and `made` is still there; once the new one stands nothing is
/// thrown: a failure to flush or to remove the old one is logged. Who opens `place` meanwhile finds
/// the one or the other, where the file system can exchange two names; else there are two renames, and
/// a process that is killed between them leaves the old folder as MADE.old. `rename` is for tests,
/// which have two renames.
void replace_folder(const std::filesystem::path& made, const std::filesystem::path& place,
                    const std::function<void(const std::filesystem::path&,
                                             const std::filesystem::path&)>& rename = {});

}  // namespace hh
