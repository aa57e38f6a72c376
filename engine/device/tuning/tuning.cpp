// SPDX-License-Identifier: Apache-2.0
#include "engine/device/tuning/tuning.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "engine/device/tuning/timed_products.h"
#include "kernels/core/check.h"

namespace hh {
namespace {

enum class Wish { kNone, kOn, kOff };
std::atomic<Wish> wish = Wish::kNone;

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool wished_by_environment() {
  const std::string value = environment("HH_TUNE");
  HH_REQUIRE(value.empty() || value == "0" || value == "1",
             "HH_TUNE=" << value << ": use 0 or 1, or leave it unset");
  return value != "0";
}

}  // namespace

void set_tuning(bool on) { wish = on ? Wish::kOn : Wish::kOff; }

std::filesystem::path tuning_folder() {
  // Relative ones are to be ignored: freedesktop.org, "XDG Base Directory Specification".
  const std::filesystem::path cache = environment("XDG_CACHE_HOME");
  if (cache.is_absolute()) return cache / "hybridhash";
  const std::filesystem::path home = environment("HOME");
  return home.is_absolute() ? home / ".cache" / "hybridhash" : std::filesystem::path();
}

ProductChoices* tuning() {
  if (wish == Wish::kOff || (wish == Wish::kNone && !wished_by_environment())) return nullptr;
  const std::filesystem::path folder = tuning_folder();
  if (folder.empty()) return nullptr;
  static auto& products = *new TimedProducts(folder);  // GPUs ask until the end
  return &products;
}

}  // namespace hh
