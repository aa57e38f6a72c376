// SPDX-License-Identifier: Apache-2.0
// Which of its algorithms a GPU's library computes a matrix product by. libhh_cuda.so asks and can time
// them, the program answers and keeps what was measured (timed_products.h).
#pragma once
#include <compare>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace hh {

/// What times and algorithms are of: another GPU, driver or library has others.
struct ProductLibrary {
  std::string gpu;          // its name, as the driver says it
  int driver = 0;           // newest CUDA that the driver knows: 13020 is 13.2
  std::size_t version = 0;  // of cuBLASLt: 130200
  auto operator<=>(const ProductLibrary&) const = default;
};

class ProductChoices {
 public:
  virtual ~ProductChoices() = default;
  /// A position in `algorithms`, which aren't none. `product`: types, shapes and alignments, a line of
  /// text; `algorithms`: names in the library's own order. `time_us` runs them and gives a time for
  /// each, 0 for one that was refused; nothing when it couldn't; empty itself where none may run now.
  virtual std::size_t choose(const ProductLibrary& library, const std::string& product,
                             const std::vector<std::string>& algorithms,
                             const std::function<std::vector<double>()>& time_us) = 0;
};

/// What libhh_cuda.so exports under this name: `choices`, which lives on, decides from now on.
using SetProductChoices = void(ProductChoices* choices);
inline constexpr const char* kSetProductChoices = "hh_set_product_choices";

}  // namespace hh
