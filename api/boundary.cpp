// SPDX-License-Identifier: Apache-2.0
#include "api/boundary.h"

#include <new>
#include <stdexcept>
#include <system_error>

#include "data/images/decode.h"
#include "engine/device/backend.h"
#include "engine/files/file_error.h"
#include "engine/files/folder_lock.h"
#include "engine/files/log.h"
#include "kernels/core/parallel.h"
#include "pipeline/recipe.h"
#include "retrieval/index/index.h"

namespace hh::api {
namespace {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

hh_status record(hh_status status, const char* text) noexcept {
  try {
    last_error() = text;
  } catch (...) {  // no memory for the text: an empty one
    last_error().clear();
  }
  return status;
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
  } catch (const std::invalid_argument& error) {
    return record(HH_INVALID_ARGUMENT, error.what());
  } catch (const std::runtime_error& error) {  // files; std::system_error is one too
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
