// SPDX-License-Identifier: Apache-2.0
// Commands and their options, by CLI11, whose names these have. Only command_line.cpp and main.cpp include it: its header
// takes four seconds in every file. All are handles; what they stand for lives as long as the program's CLI::App.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace hh::apps {

/// What an option's text must be.
class TextCheck {
 public:
  /// `problem_of(text)`: what is wrong with it, or nothing. `description` stands in --help.
  TextCheck(std::function<std::string(const std::string&)> problem_of, std::string description);
  std::string operator()(const std::string& text) const { return problem_of_(text); }

 private:
  friend class Option;
  std::function<std::string(const std::string&)> problem_of_;
  std::string description_;
};

/// A number between two, both included; otherwise says which may be used.
template <class Number>  // int, std::int64_t, std::uint64_t, double
TextCheck within(Number least, Number most);

/// A file that is there, or a folder; otherwise says what there is, and what to give.
TextCheck existing_file();
TextCheck existing_folder();

/// What CLI::Option does; one_of() is CLI::IsMember, hidden() an empty group.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}
  Option& required();
  Option& check(const TextCheck& check);
  Option& one_of(const std::vector<std::string>& words);
  Option& capture_default_str();
  Option& take_all();
  Option& allow_extra_args(bool allow);
  Option& expected(int values);
  Option& delimiter(char between);
  Option& excludes(const Option& other);
  Option& needs(const Option& other);
  Option& type_name(const std::string& name);
  Option& hidden();

 private:
  CLI::Option* option_;
};

/// The program, or a subcommand: what CLI::App does.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}
  Command add_subcommand(const std::string& name, const std::string& what);
  void require_subcommand();
  template <class T>  // those at the end of command_line.cpp
  Option add_option(const std::string& names, T& value, const std::string& help = "");
  Option add_flag(const std::string& name, bool& value, const std::string& help);
  Option add_flag(const std::string& name, const std::function<void()>& given);
  /// Runs it; it may throw.
  void callback(const std::function<void()>& run);
  void footer(const std::string& text);
  Option get_option(const std::string& name) const;
  /// How often it was given.
  std::size_t count(const std::string& option) const;
  std::string version() const;

 private:
  CLI::App* app_;
};

}  // namespace hh::apps
