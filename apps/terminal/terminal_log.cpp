// SPDX-License-Identifier: Apache-2.0
#include "apps/terminal/terminal_log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "apps/terminal/shown_text.h"
#include "engine/text/log.h"

namespace hh::apps {
namespace {

/// A warning's text, on one line and without what a terminal would act on.
class ShownMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& to) override {
    const std::string text = shown_text({message.payload.data(), message.payload.size()});
    to.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<ShownMessage>();
  }
};

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kDebug:
      break;
  }
  return spdlog::level::debug;
}

}  // namespace

void log_to_stderr() {
  const char *terminal = std::getenv("TERM"), *no_color = std::getenv("NO_COLOR");
  const bool plain = terminal == nullptr || std::string_view(terminal) == "dumb" ||
                     (no_color != nullptr && *no_color != '\0');
  spdlog::set_default_logger(spdlog::stderr_color_st(
      "hybridhash", plain ? spdlog::color_mode::never : spdlog::color_mode::automatic));
  spdlog::set_level(spdlog::level::warn);
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<ShownMessage>('*').set_pattern("hybridhash: %^%l%$: %*");
  spdlog::set_formatter(std::move(formatter));
  set_log([](LogLevel level, const std::string& text) {
    spdlog::default_logger_raw()->log(level_of(level), spdlog::string_view_t(text));
  });
}

void log_more() { spdlog::set_level(spdlog::level::info); }

}  // namespace hh::apps
