// SPDX-License-Identifier: Apache-2.0
// Where tensors live and where work is queued.
#pragma once
#include <compare>
#include <string>

#include "kernels/core/check.h"

namespace hh {

enum class DeviceKind : unsigned char { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;  // of the GPU; 0 on the CPU
  auto operator<=>(const Device&) const = default;
};

inline constexpr Device kCpu{};

/// "cpu", "cuda:0".
std::string to_string(Device device);

/// What a user may ask for: "cpu", "cuda" (GPU 0), "cuda:N", or "auto": GPU 0 if it can be used,
/// else the CPU, with the reason logged in one line (a warning where the program has a GPU side).
/// Throws std::invalid_argument for other words and DeviceUnavailable when a GPU is asked for by
/// name and can't be used.
Device parse_device(const std::string& name);

/// Gives all that GPUs lent back to their drivers. For the end of main(), before the driver's own
/// libraries close; no tensor may be left on a GPU. Leak checkers then see only what was lost.
void close_devices();

/// No such device here. what() says why and what to do.
struct DeviceUnavailable : DeviceError {
  using DeviceError::DeviceError;
};

}  // namespace hh
