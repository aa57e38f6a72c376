// SPDX-License-Identifier: Apache-2.0
// The main of every test program: Catch2's, after HH_SIMD and HH_THREADS are obeyed. Programs that
// use devices give them back at the end, so that leak checkers see only what was lost.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>
#include <string>

#include "engine/device/device.h"
#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"

int main(int argc, char** argv) {
  // A user's file of times isn't the tests': setting it to 1 lets them write it.
  setenv("HH_TUNE", "0", /*overwrite=*/0);
  hh::cpu::simd_from_environment();
  if (const char* threads = std::getenv("HH_THREADS")) {
    const int number = std::atoi(threads);
    if (std::to_string(number) != threads || number < 0) {
      std::cerr << "HH_THREADS = " << threads << ": use a whole number from 0 on\n";
      return 2;
    }
    hh::cpu::set_num_threads(number);
  }
  const int status = Catch::Session().run(argc, argv);
  hh::close_devices();
  return status;
}
