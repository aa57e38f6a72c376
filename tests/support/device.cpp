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

void GuardedBytes::fill(std::byte value) const {
  const std::vector<std::byte> block(std::min(bytes_, std::size_t{1} << 20), value);
  for (std::size_t at = 0; at < bytes_; at += block.size()) {
    backend(device_).copy_from_host(data() + at, block.data(), std::min(block.size(), bytes_ - at));
  }
}

void GuardedBytes::look_at_guards() const {
  std::vector<std::byte> guards(2 * kGuard);
  backend(device_).copy_to_host(guards.data(), memory_, kGuard);
  backend(device_).copy_to_host(guards.data() + kGuard, memory_ + kGuard + bytes_, kGuard);
  backend(device_).synchronize();
  INFO("memory beside an array was overwritten on " << to_string(device_));
  REQUIRE(std::all_of(guards.begin(), guards.end(), [](std::byte b) { return b == kGuardByte; }));
}

void GuardedBytes::read(void* to) const {
  look_at_guards();
  if (bytes_ == 0) return;
  backend(device_).copy_to_host(to, data(), bytes_);
  backend(device_).synchronize();
}

}  // namespace hh::testing
