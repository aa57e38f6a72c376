// SPDX-License-Identifier: Apache-2.0
// A main for fuzz targets where libFuzzer isn't: one pass over the files named, folders with all
// that they hold. So any compiler's sanitizers see what fuzzing found once.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz.h"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  int inputs = 0;
  const auto run = [&](const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    // A vector of exactly that size, so that a sanitizer sees a read past it.
    const std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++inputs;
  };
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      run(argv[i]);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(argv[i])) {
      if (entry.is_regular_file()) run(entry.path());
    }
  }
  std::printf("%d inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}
