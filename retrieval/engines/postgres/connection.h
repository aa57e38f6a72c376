// SPDX-License-Identifier: Apache-2.0
// A connection to PostgreSQL by libpq. Values go both ways in PostgreSQL's binary form and never as
// part of the SQL. Nothing waits for ever: a server that says nothing for longer than its own limit of a
// statement is taken for gone. All functions throw TryAgain where another try may go well, SqlError or
// another std::runtime_error.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "retrieval/codes/codes.h"

struct pg_conn;
struct pg_result;

namespace hh::retrieval::postgres {

/// The server refused a statement for good.
struct SqlError : std::runtime_error {
  SqlError(const std::string& text, std::string its_state)
      : std::runtime_error(text), state(std::move(its_state)) {}
  std::string state;  // five characters, as PostgreSQL's manual lists them
};

/// Behind `bytes`, big end first, as all that PostgreSQL sends.
void append_number(std::string& bytes, std::uint64_t value, int width);
/// The bits, bit 0 first, with their number before them: PostgreSQL's bit(n).
void append_bits(std::string& bytes, CodesView codes, std::int64_t row);

/// Values of one statement. Each function returns its name there, "$1".
class Parameters {
 public:
  std::string text(std::string_view value);
  std::string integer(std::int64_t value);
  std::string real(double value);
  std::string code(CodesView codes, std::int64_t row);
  std::string integers(std::span<const std::int64_t> values);
  std::string classes(std::span<const int> values);

 private:
  friend class Connection;
  std::string add(unsigned type, std::string bytes);
  std::vector<unsigned> types_;
  std::vector<std::string> values_;
};

/// Rows of an answer. Throws std::runtime_error where a value isn't what was asked for.
class Rows {
 public:
  explicit Rows(pg_result* result) : result_(result) {}
  explicit operator bool() const { return result_ != nullptr; }
  pg_result* release() { return result_.release(); }
  int count() const;
  std::int64_t changed() const;  // by INSERT, UPDATE, DELETE or COPY
  bool is_null(int row, int column) const;
  std::string_view bytes(int row, int column) const;
  std::int64_t integer(int row, int column) const;  // of 2, 4 or 8 bytes
  bool truth(int row, int column) const;

 private:
  struct Clear {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

class Connection {
 public:
  /// Of a URL or of words as libpq takes them. `stopped` is asked while it waits: TryAgain then.
  Connection(const std::string& url, std::function<bool()> stopped);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// False once it is lost, for good.
  bool alive() const;
  /// "PostgreSQL 15.18".
  std::string server() const;
  /// What errors start with: "PostgreSQL at HOST:PORT, database NAME".
  const std::string& name() const { return name_; }

  Rows run(const std::string& sql, const Parameters& parameters = {});
  /// The statement once for each of these, in one round trip.
  std::vector<Rows> run_each(const std::string& sql, std::span<const Parameters> parameters);
  /// COPY ... FROM STDIN: `more` puts bytes behind those that are there until it returns false. Returns
  /// the rows.
  std::int64_t copy_in(const std::string& sql, const std::function<bool(std::string&)>& more);
  /// COPY ... TO STDOUT: a piece of the stream at a time. What `take` throws ends the connection.
  void copy_out(const std::string& sql, const std::function<void(std::string_view)>& take);

 private:
  void connect();
  void set_name();
  void set_limits();
  /// Waits until the socket can be read, or written. Throws TryAgain when time is up.
  void wait(bool write, double seconds);
  void flush();
  pg_result* next();
  Rows checked(pg_result* result);
  /// One more answer, or none; counts them. Throws TryAgain for a server that doesn't come to an end.
  Rows next_of_rest(int& count);
  void drain();
  std::int64_t end_of_copy();
  /// Throws unless the answer begins a COPY of that kind (ExecStatusType).
  void check_copy(pg_result* first, int wanted);
  void send(const std::string& sql, const Parameters& parameters);
  [[noreturn]] void fail_sql(const pg_result* result);
  [[noreturn]] void fail_lost(const std::string& what);

  pg_conn* connection_ = nullptr;
  std::function<bool()> stopped_;
  std::string name_;
  double patience_ = 0;  // seconds without a byte
  bool lost_ = false;
};

/// Rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(Connection& connection, const char* begin = "BEGIN");
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Connection& connection_;
  bool done_ = false;
};

}  // namespace hh::retrieval::postgres
