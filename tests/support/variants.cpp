// SPDX-License-Identifier: Apache-2.0
#include "tests/support/variants.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <stdexcept>

namespace hh::testing {
namespace {

/// Of the library of those for GPUs; null where there is none.
const Variant* first_of_library() {
  const auto path =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libhh_variants.so";
  if (!std::filesystem::exists(path)) return nullptr;
  void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return reinterpret_cast<const Variant* (*)()>(dlsym(library, "hh_first_variant"))();
}

std::atomic<long> runs = 0;

/// Whoever misspells a test's filter would believe that the variant had passed.
void report_runs() {
  std::fprintf(stderr, "HH_VARIANT=%s: its kernels ran %ld times%s\n", std::getenv("HH_VARIANT"),
               runs.load(), runs == 0 ? ", so no test has checked it" : "");
  if (runs == 0) std::_Exit(1);
}

}  // namespace

std::vector<const Variant*> variants(Device device) {
  static const Variant* const library = device == kCpu ? nullptr : first_of_library();
  std::vector<const Variant*> found;
  for (const Variant* v = device == kCpu ? Variant::first : library; v != nullptr; v = v->next) {
    if (v->on_gpu == (device != kCpu)) found.push_back(v);
  }
  return found;
}

std::string wanted_variant(Device device) {
  const char* wanted = std::getenv("HH_VARIANT");
  if (wanted == nullptr) return "";
  static const int once = std::atexit(report_runs);
  std::set<std::string> names;
  for (const Variant* v : variants(device)) names.insert(v->name);
  if (once == 0 && names.count(wanted) != 0) return wanted;
  std::string known;
  for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
  throw std::runtime_error("HH_VARIANT=" + std::string(wanted) +
                           ": there is none of that name on " + to_string(device) + "; there are " +
                           (known.empty() ? "none" : known));
}

void count_variant() { ++runs; }

}  // namespace hh::testing
