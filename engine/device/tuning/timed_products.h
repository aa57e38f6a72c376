// SPDX-License-Identifier: Apache-2.0
// The choice among a library's algorithms by their times: measured once, kept in a file for all
// processes of a user.
#pragma once
#include <filesystem>
#include <map>
#include <mutex>

#include "engine/device/tuning/product_choices.h"
#include "engine/device/tuning/product_file.h"

namespace hh {

/// What the file names is taken. A product that it lacks is timed and written to it while the folder
/// is locked, so processes that start together agree. What can't be kept isn't timed: then, and where
/// a file can't be used, the library's first is taken and a line is logged once. So the same files
/// give the same algorithms.
class TimedProducts final : public ProductChoices {
 public:
  /// The folder is made when something is to be kept.
  explicit TimedProducts(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::size_t choose(const ProductLibrary& library, const std::string& product,
                     const std::vector<std::string>& algorithms,
                     const std::function<std::vector<double>()>& time_us) override;

 private:
  struct File {
    std::filesystem::path path;
    ProductTable products;
    bool loaded = false;
    bool keeps = true;  // false after a failure to write
  };
  void load(const ProductLibrary& library, File& file);
  std::size_t time_and_keep(const ProductLibrary& library, File& file, const std::string& product,
                            const std::vector<std::string>& algorithms,
                            const std::function<std::vector<double>()>& time_us);

  std::filesystem::path folder_;
  std::mutex mutex_;
  std::map<ProductLibrary, File> files_;
};

/// The fastest; the first where none is faster by 2 %, which is more than two runs of one algorithm
/// differ. 0 is no time. `times` has a time.
std::size_t fastest(const std::vector<double>& times);

}  // namespace hh
