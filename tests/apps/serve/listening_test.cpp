// SPDX-License-Identifier: Apache-2.0
// Sockets of files, and those that systemd hands over, as a server uses them.
#include "apps/serve/listening.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>

#include "tests/apps/program.h"
#include "tests/apps/serve/small_index.h"
#include "tests/support/temporary_folder.h"

namespace hh::apps {
namespace {

using Catch::Contains, Catch::StartsWith;
using testing::Program;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

/// What a server on a socket's file says; empty where nobody listens.
std::string answer_to(const std::string& path, const std::string& request) {
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const sockaddr_un address = address_of(path);
  std::string answer;
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    ::send(descriptor, request.data(), request.size(), MSG_NOSIGNAL);
    char block[4096];
    for (ssize_t got; (got = ::recv(descriptor, block, sizeof block, 0)) > 0;) {
      answer.append(block, std::size_t(got));
    }
  }
  ::close(descriptor);
  return answer;
}

std::string request(const std::string& line, const std::string& head = "") {
  return line + " HTTP/1.1\r\nHost: photos.example\r\nConnection: close\r\n" + head + "\r\n";
}

void wait_until_it_listens(Program& program) {
  REQUIRE(testing::wait_for([&] { return program.out().ends_with("\n") || !program.running(); }));
  INFO(program.err());
  REQUIRE(program.running());
}

TEST_CASE("a server on a socket's file serves whatever its name, and changes take a token",
          "[listening]") {
  const testing::TemporaryFolder folder;
  const testing::SmallIndex made;
  const std::string path = folder / "hh.sock";
  const std::vector<std::string> words{"serve",         "--index",     made.path(),
                                       "--unix-socket", path,          "--token",
                                       "secret",        "--unix-mode", "600"};
  {
    Program program(folder.path(), words);
    wait_until_it_listens(program);
    CHECK(program.out() == "4 items of 16 bits at http+unix:" + path + "\n");
    struct stat facts {};
    REQUIRE(::lstat(path.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
    CHECK_THAT(answer_to(path, request("GET /api/v1/items/10")), StartsWith("HTTP/1.1 200"));
    CHECK_THAT(answer_to(path, request("DELETE /api/v1/items/10")), StartsWith("HTTP/1.1 401"));
    CHECK_THAT(
        answer_to(path, request("DELETE /api/v1/items/10", "Authorization: Bearer secret\r\n")),
        StartsWith("HTTP/1.1 200"));
    const testing::Outcome second = testing::run_program(made.path().parent_path(), words);
    CHECK(second.status == 2);
    CHECK_THAT(second.err, Contains("a process listens on it already"));
    CHECK_THAT(answer_to(path, request("GET /healthz")), StartsWith("HTTP/1.1 200"));
    program.signal(SIGTERM);
    CHECK(program.wait() == 0);
    CHECK(!std::filesystem::exists(path));
  }
  {  // Whoever reaches a proxy before it reaches it: without a token nothing is changed.
    Program program(folder.path(), {"serve", "--index", made.path(), "--unix-socket", path});
    wait_until_it_listens(program);
    CHECK_THAT(answer_to(path, request("DELETE /api/v1/items/11")), StartsWith("HTTP/1.1 403"));
    program.signal(SIGKILL);
    program.wait();
    CHECK(std::filesystem::exists(path));
  }
  Program program(folder.path(), words);  // in the place of what the killed one left
  wait_until_it_listens(program);
  CHECK_THAT(answer_to(path, request("GET /healthz")), StartsWith("HTTP/1.1 200"));
}

TEST_CASE("only a dead process's socket gives way", "[listening]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "a";
  testing::write_text(path, "mine");
  CHECK_THROWS_WITH(UnixSocket(path, 0600), Contains("it is no socket"));
  CHECK(testing::read_text(path) == "mine");
  CHECK_THROWS_WITH(UnixSocket(folder / "none/a", 0600), Contains("can't be made: No such file"));
  CHECK_THROWS_WITH(UnixSocket(folder / std::string(120, 'x'), 0600), Contains("1 to 107 bytes"));
  CHECK_THROWS_WITH(UnixSocket("", 0600), Contains("1 to 107 bytes"));
  std::filesystem::remove(path);
  {
    const UnixSocket first(path, 0600);
    ::close(first.descriptor());  // as if its process were dead
    const UnixSocket second(path, 0640);
    CHECK(bound_to(second.descriptor()).address == path);
    CHECK(bound_to(second.descriptor()).file);
    std::filesystem::rename(path, folder / "b");
    testing::write_text(path, "another's");
    ::close(second.descriptor());
  }
  CHECK(testing::read_text(path) == "another's");
  for (const char* mode : {"", "8", "1000", "0x1ff", "rw"}) {
    CAPTURE(mode);
    const testing::Outcome outcome = testing::run_program(
        folder.path(),
        {"serve", "--index", folder.path(), "--unix-socket", folder / "c", "--unix-mode", mode});
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains("--unix-mode"));
  }
}

/// Runs `hybridhash serve` with `descriptor` as its descriptor 3, as systemd would.
std::vector<std::string> handed_over(int descriptor, const std::string& variables,
                                     const std::string& index) {
  return {"-c", fmt::format("exec 3<&{}; {} exec '{}' serve --index '{}'", descriptor, variables,
                            testing::program_path().string(), index)};
}
constexpr const char* kOne = "LISTEN_PID=$$ LISTEN_FDS=1";

TEST_CASE("a socket that was handed over is served", "[listening]") {
  const testing::TemporaryFolder folder;
  const testing::SmallIndex made;
  const std::string path = folder / "handed.sock";
  const int file = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = address_of(path);
  REQUIRE(::bind(file, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(file, 9) == 0);
  for (int i = 0; i < 2; ++i) {  // systemd starts it again
    Program program(folder.path(), handed_over(file, kOne, made.path()), "/bin/bash");
    wait_until_it_listens(program);
    CHECK(program.out() == "4 items of 16 bits at http+unix:" + path + "\n");
    CHECK_THAT(answer_to(path, request("GET /api/v1/items/10")), StartsWith("HTTP/1.1 200"));
    CHECK_THAT(answer_to(path, request("DELETE /api/v1/items/10")), StartsWith("HTTP/1.1 403"));
    program.signal(SIGTERM);
    CHECK(program.wait() == 0);
    CHECK(std::filesystem::exists(path));  // systemd's, which goes on listening
  }
  const auto refused = [&](int descriptor, const char* variables, const std::string& why) {
    Program program(folder.path(), handed_over(descriptor, variables, made.path()), "/bin/bash");
    CHECK(program.wait() == 2);
    CHECK_THAT(program.err(), Contains(why));
  };
  refused(file, "LISTEN_PID=$$ LISTEN_FDS=2", "2 sockets are handed over");
  const int other = ::socket(AF_UNIX, SOCK_STREAM, 0);
  refused(other, kOne, "no stream socket that listens");
  ::close(other);
  ::close(file);
}

TEST_CASE("an address that was handed over has the rules of that address", "[listening]") {
  const testing::TemporaryFolder folder;
  const testing::SmallIndex made;
  for (const bool loopback : {true, false}) {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(loopback ? INADDR_LOOPBACK : INADDR_ANY);
    REQUIRE(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(descriptor, 9) == 0);
    const BoundTo place = bound_to(descriptor);
    CHECK(place.loopback == loopback);
    CHECK(!place.file);
    Program program(folder.path(), handed_over(descriptor, kOne, made.path()), "/bin/bash");
    wait_until_it_listens(program);
    CHECK(program.out() == "4 items of 16 bits at http://" + place.address + "/\n");
    ::close(descriptor);
  }
  // Of another process's, as a child of a service sees it: not for this one.
  Program program(folder.path(),
                  {"-c", "LISTEN_PID=1 LISTEN_FDS=1 exec '" + testing::program_path().string() +
                             "' serve --port 0 --index '" + made.path().string() + "'"},
                  "/bin/bash");
  wait_until_it_listens(program);
  CHECK_THAT(program.out(), Contains("http://127.0.0.1:"));
}

}  // namespace
}  // namespace hh::apps
