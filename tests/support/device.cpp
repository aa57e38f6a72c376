// SPDX-License-Identifier: Apache-2.0
#include "tests/support/device.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace hh::testing {
namespace {

constexpr std::byte kGuardByte{0xa5};

}  // namespace

std::vector<Device> devices() {
  const char* names = std::getenv("HH_TEST_DEVICES");
  std::istringstream words(names != nullptr ? names : "cpu");
  std::vector<Device> devices;
  for (std::string word; std::getline(words, word, ',');) devices.push_back(parse_device(word));
  return devices;
}

GuardedBytes::GuardedBytes(Device device, std::size_t bytes)
    : device_(device),
      bytes_(bytes),
      memory_(static_cast<std::byte*>(backend(device).allocate(bytes + 2 * kGuard))) {
  const std::vector<std::byte> guard(kGuard, kGuardByte);
  backend(device).copy_from_host(memory_, guard.data(), kGuard);
  backend(device).copy_from_host(memory_ + kGuard + bytes, guard.data(), kGuard);
}

GuardedBytes::~GuardedBytes() {
  backend(device_).synchronize();
  backend(device_).release(memory_);
}

void GuardedBytes::write(const void* from) const {
  if (bytes_ != 0) backend(device_).copy_from_host(data(), from, bytes_);
}

void GuardedBytes::read(void* to) const {
  std::vector<std::byte> all(bytes_ + 2 * kGuard);
  backend(device_).copy_to_host(all.data(), memory_, all.size());
  backend(device_).synchronize();
  const auto intact = [](std::byte b) { return b == kGuardByte; };
  INFO("memory beside an array was overwritten on " << to_string(device_));
  REQUIRE(std::all_of(all.begin(), all.begin() + kGuard, intact));
  REQUIRE(std::all_of(all.end() - kGuard, all.end(), intact));
  if (bytes_ != 0) std::memcpy(to, all.data() + kGuard, bytes_);
}

}  // namespace hh::testing
