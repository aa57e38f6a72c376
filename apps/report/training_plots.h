// SPDX-License-Identifier: Apache-2.0
// loss.svg and map.svg of a run folder: metrics.csv as plots.
#pragma once
#include <filesystem>

#include "pipeline/metrics_log.h"

namespace hh::apps {

void write_training_plots(const std::filesystem::path& folder, const pipeline::MetricsLog& log);

}  // namespace hh::apps
