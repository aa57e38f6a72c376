// SPDX-License-Identifier: Apache-2.0
#include "tests/support/source_dir.h"

namespace hh::testing {

// The only test source whose command line names the tree: all others are the same in every clone, so
// that ccache compiles them once.
std::filesystem::path source_dir() { return HH_SOURCE_DIR; }

}  // namespace hh::testing
