// SPDX-License-Identifier: Apache-2.0
// Pictures of a run.
#pragma once
#include <span>
#include <string>

#include "bench/support/record.h"

namespace hh::bench {

/// A roofline: attained TFLOP/s over arithmetic intensity, both logarithmic, under the measured
/// limits. Cases without operations have no place in it.
std::string roofline_svg(std::span<const Record> records);
/// A page that needs nothing else: the roofline and the table.
std::string report_html(std::span<const Record> records);

int plot_command(std::span<const std::string> words);

}  // namespace hh::bench
