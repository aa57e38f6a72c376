// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <optional>
#include <type_traits>
#include <utility>

namespace hh::apps {

TextCheck::TextCheck(std::function<std::string(const std::string&)> problem_of,
                     std::string description)
    : problem_of_(std::move(problem_of)), description_(std::move(description)) {}

template <class Number>
TextCheck within(Number least, Number most) {
  constexpr const char* kKind = std::is_integral_v<Number> ? "a whole number" : "a number";
  return {[=](const std::string& text) {
            Number value{};
            const char* const end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, value);
            const bool right =
                error == std::errc() && stop == end && value >= least && value <= most;
            return right ? ""
                         : fmt::format("{}: use {} from {} to {}", text.empty() ? "''" : text,
                                       kKind, least, most);
          },
          fmt::format("in [{} - {}]", least, most)};
}
template TextCheck within(int, int);
template TextCheck within(std::int64_t, std::int64_t);
template TextCheck within(std::uint64_t, std::uint64_t);
template TextCheck within(double, double);

TextCheck existing_file() {
  return {[](const std::string& text) -> std::string {
            const std::filesystem::path path = text;
            std::error_code ignored;
            if (!std::filesystem::exists(path, ignored)) return text + ": there is no such file";
            if (!std::filesystem::is_directory(path, ignored)) return "";
            for (const char* name : {"best.safetensors", "recipe.toml"}) {
              if (std::filesystem::exists(path / name, ignored)) {
                return text + ": it is a folder: give a file, as " + (path / name).string();
              }
            }
            return text + ": it is a folder: give a file";
          },
          "FILE"};
}

TextCheck existing_folder() {
  return {[](const std::string& text) -> std::string {
            std::error_code ignored;
            if (!std::filesystem::exists(text, ignored)) return text + ": there is no such folder";
            return std::filesystem::is_directory(text, ignored)
                       ? ""
                       : text + ": it is a file: give the folder";
          },
          "FOLDER"};
}

Option& Option::required() {
  option_->required();
  return *this;
}
Option& Option::check(const TextCheck& check) {
  option_->check(CLI::Validator(check.problem_of_, check.description_));
  return *this;
}
Option& Option::one_of(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words));
  return *this;
}
Option& Option::capture_default_str() {
  option_->capture_default_str();
  return *this;
}
Option& Option::take_all() {
  option_->take_all();
  return *this;
}
Option& Option::allow_extra_args(bool allow) {
  option_->allow_extra_args(allow);
  return *this;
}
Option& Option::expected(int values) {
  option_->expected(values);
  return *this;
}
Option& Option::delimiter(char between) {
  option_->delimiter(between);
  return *this;
}
Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}
Option& Option::needs(const Option& other) {
  option_->needs(other.option_);
  return *this;
}
Option& Option::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}
Option& Option::hidden() {
  option_->group("");
  return *this;
}

Command Command::add_subcommand(const std::string& name, const std::string& what) {
  return Command(*app_->add_subcommand(name, what));
}
void Command::require_subcommand() { app_->require_subcommand(1); }
void Command::callback(const std::function<void()>& run) { app_->callback(run); }
void Command::footer(const std::string& text) { app_->footer(text); }
Option Command::get_option(const std::string& name) const { return Option(app_->get_option(name)); }
std::size_t Command::count(const std::string& option) const { return app_->count(option); }
std::string Command::version() const { return app_->version(); }

Option Command::add_flag(const std::string& name, bool& value, const std::string& help) {
  return Option(app_->add_flag(name, value, help));
}
Option Command::add_flag(const std::string& name, const std::function<void()>& given) {
  return Option(app_->add_flag_callback(name, given));
}

template <class T>
Option Command::add_option(const std::string& names, T& value, const std::string& help) {
  return Option(app_->add_option(names, value, help));
}
#define HH_OPTION_OF(...) \
  template Option Command::add_option(const std::string&, __VA_ARGS__&, const std::string&)
HH_OPTION_OF(int);
HH_OPTION_OF(std::int64_t);
HH_OPTION_OF(std::uint64_t);
HH_OPTION_OF(double);
HH_OPTION_OF(std::string);
HH_OPTION_OF(std::vector<std::int64_t>);
HH_OPTION_OF(std::vector<std::string>);
HH_OPTION_OF(std::optional<int>);
HH_OPTION_OF(std::optional<std::int64_t>);
HH_OPTION_OF(std::optional<std::string>);
#undef HH_OPTION_OF

}  // namespace hh::apps
