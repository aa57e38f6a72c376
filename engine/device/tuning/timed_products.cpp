// SPDX-License-Identifier: Apache-2.0
#include "engine/device/tuning/timed_products.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>

#include "engine/files/folder_lock.h"
#include "engine/text/log.h"
#include "kernels/core/check.h"

namespace hh {
namespace {

constexpr double kGain = .98;

/// Calls `meanwhile` while another process has it, and gives nothing once that is true. A product takes a
/// fraction of a second: throws FolderBusy after 10.
std::optional<FolderLock> wait_for(const std::filesystem::path& folder,
                                   const std::function<bool()>& meanwhile) {
  using namespace std::chrono_literals;
  const auto end = std::chrono::steady_clock::now() + 10s;
  for (;;) {
    try {
      return FolderLock(folder, "another process has timed products there for 10 seconds");
    } catch (const FolderBusy&) {
      if (meanwhile()) return {};
      if (std::chrono::steady_clock::now() > end) throw;
    }
    std::this_thread::sleep_for(5ms);
  }
}

/// The position of the one that the table names, if the library still proposes it.
std::optional<std::size_t> known(const ProductTable& products, const std::string& product,
                                 const std::vector<std::string>& algorithms) {
  const auto entry = products.find(product);
  if (entry == products.end()) return {};
  const auto it = std::find(algorithms.begin(), algorithms.end(), entry->second.algorithm);
  if (it == algorithms.end()) return {};
  return std::size_t(it - algorithms.begin());
}

}  // namespace

std::size_t fastest(const std::vector<double>& times) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i] > 0 && (times[best] == 0 || times[i] < times[best])) best = i;
  }
  return times[0] > 0 && times[best] > kGain * times[0] ? 0 : best;
}

void TimedProducts::load(const ProductLibrary& library, File& file) {
  try {
    file.products = read_products(file.path, library);
  } catch (const std::exception& why) {
    file.products.clear();
    if (!file.loaded) {
      log(LogLevel::kWarning, std::string(why.what()) + "; its products are timed again");
    }
  }
  file.loaded = true;
}

std::size_t TimedProducts::choose(const ProductLibrary& library, const std::string& product,
                                  const std::vector<std::string>& algorithms,
                                  const std::function<std::vector<double>()>& time_us) {
  const std::scoped_lock lock(mutex_);
  File& file = files_[library];
  if (!file.loaded) {
    file.path = product_file(folder_, library);
    load(library, file);
  }
  if (const auto position = known(file.products, product, algorithms)) return *position;
  if (!time_us || !file.keeps) return 0;
  try {
    return time_and_keep(library, file, product, algorithms, time_us);
  } catch (const DeviceError&) {
    throw;
  } catch (const std::exception& why) {
    file.keeps = false;
    log(LogLevel::kWarning,
        std::string("products on the GPU aren't timed, since their times can't be kept: ") +
            why.what() + "; --tune off or HH_TUNE=0 does without");
    return 0;
  }
}

std::size_t TimedProducts::time_and_keep(const ProductLibrary& library, File& file,
                                         const std::string& product,
                                         const std::vector<std::string>& algorithms,
                                         const std::function<std::vector<double>()>& time_us) {
  std::filesystem::create_directories(folder_);
  const auto kept_since = [&] {
    load(library, file);  // written by renaming, so it is whole without the lock
    return known(file.products, product, algorithms);
  };
  const auto alone = wait_for(folder_, [&] { return kept_since().has_value(); });
  if (const auto position = kept_since()) return *position;
  const std::vector<double> times = time_us();
  if (std::none_of(times.begin(), times.end(), [](double us) { return us > 0; })) return 0;
  const std::size_t best = fastest(times);
  const double first = times[0] > 0 ? times[0] : times[best];
  file.products[product] = {algorithms[best], times[best], first};
  write_products(file.path, library, file.products);
  return best;
}

}  // namespace hh
