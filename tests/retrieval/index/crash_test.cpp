// SPDX-License-Identifier: Apache-2.0
// What an index must keep when its writer is killed at any moment, or the disk is full.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <thread>

#include "kernels/core/philox.h"
#include "retrieval/index/index.h"
#include "tests/support/temporary_folder.h"

namespace hh::retrieval {
namespace {

constexpr int kBits = 72;

/// What an item with this id looks like after its version'th change.
ItemSet make_item(std::int64_t id, std::int64_t version) {
  ItemSet items;
  items.set.codes = PackedCodes(1, kBits);
  const Philox random(std::uint64_t(id), RandomPurpose::kTest);
  for (int j = 0; j < kBits; ++j) {
    items.set.codes.set(0, j, random.below(std::uint64_t(version * kBits + j), 2) == 1);
  }
  items.set.ids = {id};
  items.set.classes = 5;
  items.set.labels = {std::uint64_t{1} << (version % 5)};
  items.set.names = {"item " + std::to_string(id)};
  items.metadata = {"{\"version\":" + std::to_string(version) + "}"};
  return items;
}

/// What should be in an index after a number of changes, which are drawn from `seed`.
class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed, RandomPurpose::kTest) {}

  /// The next change, also made to the index if there is one. Each changes its generation by one.
  void change(IndexWriter* writer) {
    const std::uint32_t kind = draw(20);
    if (kind == 0 && !versions_.empty()) {
      if (writer != nullptr) writer->compact();
    } else if (kind <= 5 && !versions_.empty()) {
      std::vector<std::int64_t> gone;
      for (std::uint32_t i = 0; i <= draw(3) && !versions_.empty(); ++i) {
        gone.push_back(pick());
        versions_.erase(gone.back());
      }
      if (writer != nullptr) writer->remove(gone);
    } else if (kind <= 9 && !versions_.empty()) {
      const std::int64_t id = pick();
      if (writer != nullptr) writer->add(make_item(id, changes_), SameId::kReplace);
      versions_[id] = changes_;
    } else {
      if (writer != nullptr) writer->add(make_item(next_id_, changes_));
      versions_[next_id_++] = changes_;
    }
    ++changes_;
  }

  std::int64_t changes() const { return changes_; }

  void check(const Index& index) const {
    const ItemSet all = index.contents();
    REQUIRE(all.set.count() == std::int64_t(versions_.size()));
    for (std::int64_t i = 0; i < all.set.count(); ++i) {
      const std::int64_t id = all.set.ids[std::size_t(i)];
      CAPTURE(id, changes_);
      REQUIRE(versions_.contains(id));
      const ItemSet item = make_item(id, versions_.at(id));
      const auto code = all.set.codes.view().row(i), expected = item.set.codes.view().row(0);
      REQUIRE(std::equal(code.begin(), code.end(), expected.begin()));
      REQUIRE(all.set.names[std::size_t(i)] == item.set.names[0]);
      REQUIRE(all.set.labels[std::size_t(i)] == item.set.labels[0]);
      REQUIRE(all.metadata[std::size_t(i)] == item.metadata[0]);
    }
  }

 private:
  std::uint32_t draw(std::uint32_t bound) { return random_.below(draws_++, bound); }
  std::int64_t pick() {
    return std::next(versions_.begin(), std::ptrdiff_t(draw(std::uint32_t(versions_.size()))))
        ->first;
  }

  Philox random_;
  std::uint64_t draws_ = 0;
  std::int64_t changes_ = 0, next_id_ = 0;
  std::map<std::int64_t, std::int64_t> versions_;  // by id
};

/// A process of its own that runs `body`; what it tells comes through a pipe, a byte each time.
class Child {
 public:
  template <class Body>
  explicit Child(Body body) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      int status = 0;
      try {
        body([&] {
          if (::write(ends[1], "x", 1) != 1) ::_exit(4);
        });
      } catch (const std::exception& error) {
        if (::write(STDERR_FILENO, error.what(), std::strlen(error.what())) < 0) status = 4;
        status = 3;
      }
      ::_exit(status);
    }
    ::close(ends[1]);
    pipe_ = ends[0];
  }
  ~Child() {
    if (pid_ > 0) end(SIGKILL);
    ::close(pipe_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Ends it (0: lets it end), and gives its exit status, or 128 + the signal.
  int end(int signal) {
    if (signal != 0) ::kill(pid_, signal);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// Waits until it has told so many bytes more, or has ended.
  void wait_for(std::int64_t count) {
    char byte;
    while (count-- > 0 && ::read(pipe_, &byte, 1) == 1) ++told_;
  }
  /// Bytes it has told in all, after its end.
  std::int64_t told() {
    wait_for(std::numeric_limits<std::int64_t>::max());
    return told_;
  }

 private:
  pid_t pid_ = 0;
  int pipe_ = -1;
  std::int64_t told_ = 0;
};

TEST_CASE("kill -9 at any moment loses no acknowledged change", "[index][crash]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a.index";
  const char* setting = std::getenv("HH_CRASH_ROUNDS");
  const int rounds = setting != nullptr ? std::atoi(setting) : 20;
  ItemSet none;
  none.set.codes = PackedCodes(0, kBits);
  build_index(path, none);
  Model model(17);
  const std::int64_t first = read_index_manifest(path).generation;
  const Philox random(23, RandomPurpose::kTest);
  // A model as it was at that generation, which every reader must find.
  const auto model_at = [&](std::int64_t generation) {
    Model then = model;
    while (then.changes() < generation - first) then.change(nullptr);
    return then;
  };
  std::int64_t acknowledged = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    Child child([&](const auto& tell) {
      IndexWriter writer(path, 60);
      while (true) {
        model.change(&writer);
        tell();
      }
    });
    // Some changes to be sure of, and then a moment within the next; at first within its opening.
    using Clock = std::chrono::steady_clock;
    auto start = Clock::now();
    std::chrono::nanoseconds change = std::chrono::milliseconds(5);
    if (round % 4 != 0) {
      child.wait_for(1);
      {
        const Index index = Index::open(path);  // while the other writes
        model_at(index.manifest().generation).check(index);
      }
      const auto count = 1 + random.below(std::uint64_t(2 * round), 6);
      start = Clock::now();
      child.wait_for(count);
      change = (Clock::now() - start) / count;
    }
    std::this_thread::sleep_for(change * random.below(std::uint64_t(2 * round + 1), 1000) / 500);
    REQUIRE(child.end(SIGKILL) == 128 + SIGKILL);
    const std::int64_t told = child.told();
    const Index index = Index::open(path);
    const std::int64_t done = index.manifest().generation - first - model.changes();
    REQUIRE(done >= told);
    REQUIRE(done <= told + 1);
    model = model_at(index.manifest().generation);
    model.check(index);
    acknowledged += told;
  }
  WARN(rounds << " kills, " << acknowledged << " acknowledged changes");
  REQUIRE(acknowledged >= rounds);
  IndexWriter writer(path);
  for (int i = 0; i < 5; ++i) model.change(&writer);
  model.check(writer.index());
}

TEST_CASE("a full disk fails a change and leaves the index as it was", "[index][crash]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a.index";
  ItemSet none;
  none.set.codes = PackedCodes(0, kBits);
  build_index(path, none);
  Child child([&](const auto& tell) {
    // Files that can't grow any more are what a full disk looks like to a program.
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(5);
    IndexWriter writer(path);
    std::int64_t id = 0;
    bool failed = false;
    while (!failed && id < 10'000) {
      try {
        ItemSet item = make_item(id, 1);
        item.metadata = {"{\"text\":\"" + std::string(3000, 'x') + "\"}"};
        writer.add(item);
        ++id;
        tell();
      } catch (const std::runtime_error&) {
        failed = true;
      }
    }
    if (!failed) ::_exit(6);
    if (writer.index().count() != id) ::_exit(7);
  });
  REQUIRE(child.end(0) == 0);
  const std::int64_t told = child.told();
  REQUIRE(told > 0);
  CHECK(Index::open(path).count() == told);
  IndexWriter writer(path);
  CHECK(writer.index().count() == told);
  writer.add(make_item(told, 2));
  CHECK(writer.index().item(told).description.metadata == "{\"version\":2}");
  CHECK(Index::open(path).count() == told + 1);
}

}  // namespace
}  // namespace hh::retrieval
