// SPDX-License-Identifier: Apache-2.0
#include "engine/device/backend.h"

namespace hh {

void Backend::copy_from_host(void* to, const void* from, std::size_t bytes) {
  const UseDevice current(*this);
  const ProfileLaunch timed(stream(), "copy_from_host", bytes);
  queue_copy_from_host(to, from, bytes);
}

void Backend::copy_to_host(void* to, const void* from, std::size_t bytes) {
  const UseDevice current(*this);
  const ProfileLaunch timed(stream(), "copy_to_host", bytes);
  queue_copy_to_host(to, from, bytes);
}

std::unique_ptr<PendingFloat> Backend::read_later(const float* value) {
  const UseDevice current(*this);
  const ProfileLaunch timed(stream(), "read_later", sizeof(float));
  return queue_read(value);
}

void Backend::copy_within(void* to, const void* from, std::size_t bytes) {
  const UseDevice current(*this);
  const ProfileLaunch timed(stream(), "copy_within", bytes);
  queue_copy_within(to, from, bytes);
}

void Backend::zero(void* memory, std::size_t bytes) {
  const UseDevice current(*this);
  const ProfileLaunch timed(stream(), "zero", bytes);
  queue_zero(memory, bytes);
}

}  // namespace hh
