// SPDX-License-Identifier: Apache-2.0
#include "api/boundary.h"

#include <new>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "data/images/decode.h"
#include "engine/device/backend.h"
#include "engine/files/file_error.h"
#include "engine/files/folder_lock.h"
#include "engine/text/log.h"
#include "kernels/core/parallel.h"
#include "pipeline/recipe.h"
#include "retrieval/index/index.h"

namespace hh::api {
namespace {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

/// What the program calls by a flag, by the name that it has here. Longer ones come first.
constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"with --resume, or choose another folder with --out", "by resume, or choose another folder"},
    {"that train --out made", "that a run was trained into"},
    {"add to it by hybridhash index add, or replace it by --overwrite",
     "open it and add to it, or replace it by overwrite"},
    {"--replace or --renumber", "same_id replace or renumber"},
    {"--renumber", "same_id renumber"},
    {"build it by index build --keep-outputs", "build it with keep_outputs"},
    {"--keep-outputs", "keep_outputs"},
    {"--outputs", "keep_outputs"},
    {"--skip-bad", "skip_bad"},
    {"--max-pixels", "max_megapixels"},
    {"--allow-changed-data", "allow_changed_data"},
    {"--set ", "the setting "},
    {"--device ", "the device "},
    {"--method ", "the method "},
    {"--radius", "radius"},
    {"--part", "part"},
    {"--folder", "folder"},
    {"--class-folder", "class_folder"},
    {"--image-root", "image_root"},
    {"--list-labels", "list_labels"},
    {"--list", "list"},
    {" by --code-format bits or hex", ""},
};

/// The cure in words that a caller of the library knows: messages are written for the program too.
std::string in_our_words(std::string text) {
  for (const auto& [flag, word] : kWords) {
    for (std::size_t at = 0; (at = text.find(flag, at)) != std::string::npos;) {
      const std::size_t end = at + flag.size();
      // Not a part of a file's name, nor of a longer flag.
      const bool begins = at == 0 || flag[0] == ' ' || text[at - 1] == ' ' || text[at - 1] == '(';
      const bool ends = flag.back() == ' ' || end == text.size() ||
                        std::string_view(" ,;:)").find(text[end]) != std::string_view::npos;
      if (begins && ends) text.replace(at, flag.size(), word);
      at += begins && ends ? word.size() : flag.size();
    }
  }
  return text;
}

hh_status record(hh_status status, const char* text) noexcept {
  try {
    last_error() = in_our_words(text);
  } catch (...) {  // no memory for the text: an empty one
    last_error().clear();
  }
  return status;
}

/// Of what the standard library throws: of files, and where no thread can be had.
hh_status record_system_error(const std::system_error& error) noexcept {
  const int code = error.code().value();
  const hh_status status = means_full(code)        ? HH_DISK_FULL
                           : means_try_again(code) ? HH_BUSY
                                                   : HH_BAD_FILE;
  try {
    return record(status, text_of(error).c_str());
  } catch (...) {
    return record(status, error.what());
  }
}

}  // namespace

hh_status record_error() noexcept {
  try {
    throw;
  } catch (const Stopped& error) {
    return record(HH_STOPPED, error.what());
  } catch (const OutOfMemory& error) {
    return record(HH_OUT_OF_MEMORY, error.what());
  } catch (const std::bad_alloc&) {
    return record(HH_OUT_OF_MEMORY, "out of memory; use a smaller batch or image");
  } catch (const DeviceError& error) {
    return record(HH_DEVICE_ERROR, error.what());
  } catch (const data::ImageError& error) {
    return record(HH_BAD_IMAGE, error.what());
  } catch (const retrieval::IndexBusy& error) {
    return record(HH_BUSY, error.what());
  } catch (const FolderBusy& error) {
    return record(HH_BUSY, error.what());
  } catch (const DiskFull& error) {
    return record(HH_DISK_FULL, error.what());
  } catch (const TryAgain& error) {
    return record(HH_BUSY, error.what());
  } catch (const std::invalid_argument& error) {
    return record(HH_INVALID_ARGUMENT, error.what());
  } catch (const std::system_error& error) {
    return record_system_error(error);
  } catch (const std::runtime_error& error) {  // files
    return record(HH_BAD_FILE, error.what());
  } catch (const std::length_error&) {
    return record(HH_INVALID_ARGUMENT, "a count is larger than any array; check the counts given");
  } catch (const std::exception& error) {
    return record(HH_INTERNAL, error.what());
  } catch (...) {
    return record(HH_INTERNAL, "an exception of no known kind");
  }
}

std::vector<std::string> texts(const char* const* from, std::int64_t count, const char* name) {
  HH_REQUIRE(count >= 0, name << ": their number is " << count << "; use 0 or more");
  HH_REQUIRE(count == 0 || from != nullptr, name << " is NULL, and their number is " << count);
  std::vector<std::string> out;
  out.reserve(std::size_t(count));
  for (std::int64_t i = 0; i < count; ++i) {
    HH_REQUIRE(from[i] != nullptr, name << "[" << i << "] is NULL");
    out.emplace_back(from[i]);
  }
  return out;
}

void check_threads(int threads) {
  HH_REQUIRE(threads >= 0 && threads <= pipeline::kMostThreads,
             "threads = " << threads << ": use 0 (all) to " << pipeline::kMostThreads);
}

}  // namespace hh::api

using namespace hh::api;

const char* hh_version(void) { return HH_VERSION; }

const char* hh_last_error(void) { return last_error().c_str(); }

const char* hh_status_name(hh_status status) {
  switch (status) {
    case HH_OK:
      return "done";
    case HH_INVALID_ARGUMENT:
      return "invalid argument";
    case HH_BAD_FILE:
      return "bad file";
    case HH_BAD_IMAGE:
      return "bad image";
    case HH_DEVICE_ERROR:
      return "device error";
    case HH_OUT_OF_MEMORY:
      return "out of memory";
    case HH_BUSY:
      return "busy";
    case HH_DISK_FULL:
      return "disk full";
    case HH_STOPPED:
      return "stopped";
    case HH_INTERNAL:
      return "internal error";
  }
  return "unknown status";
}

hh_status hh_set_log(hh_log_function log, void* user) {
  return guarded([&] {
    if (log == nullptr) return hh::set_log({});
    hh::set_log([log, user](hh::LogLevel level, const std::string& text) {
      log(hh_log_level(level), text.c_str(), user);
    });
  });
}

hh_status hh_set_threads(int threads) {
  return guarded([&] {
    check_threads(threads);
    hh::cpu::set_num_threads(threads);
  });
}

int hh_threads(void) { return hh::cpu::num_threads(); }
