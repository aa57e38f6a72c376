// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/postgres/connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <optional>

#include "engine/files/file_error.h"
#include "kernels/core/check.h"

namespace hh::retrieval::postgres {
namespace {

constexpr double kConnectSeconds = 10;
constexpr double kStatementSeconds = 600;  // where neither server nor user set a limit
constexpr double kGraceSeconds = 30;       // for the server to say that a statement took too long
constexpr double kBetweenLooks = 0.2;      // seconds, at whether to stop
constexpr int kOldestServer = 150000;

// From PostgreSQL's pg_type.dat: they never change.
constexpr unsigned kInt8 = 20, kInt4 = 23, kText = 25, kFloat8 = 701, kInt4Array = 1007,
                   kInt8Array = 1016, kBit = 1560;

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  std::string line;
  for (const char c : text) {
    if (c == '\n' || c == '\t' || c == '\r') {
      if (!line.ends_with(' ')) line += ' ';
    } else {
      line += c;
    }
  }
  return line;
}

/// Whether a statement refused so may be taken another time.
bool passes(std::string_view state) {
  const std::string_view kind = state.substr(0, 2);
  return kind == "08" || kind == "53" || kind == "40" || kind == "58" || state == "57P01" ||
         state == "57P02" || state == "57P03" || state == "57P05" || state == "55P03" ||
         state == "57014" || state == "25P03";
}

std::string cure(std::string_view state) {
  if (state == "28P01") {
    return "; put the password into ~/.pgpass or the file that PGPASSFILE names, readable by you "
           "alone";
  }
  if (state == "42501") return "; the role needs more rights: docs/engines.md lists them";
  if (state == "25006") return "; it is a replica: push to the primary";
  if (state == "57014") return "; allow more by options=-c statement_timeout=... in the URL";
  if (state == "22P02") {
    return "; an item's metadata were changed there to what isn't JSON: push the index with --full";
  }
  if (state == "53100") return "; the server's disk is full";
  return "";
}

constexpr const char* kUrl = "; write the URL as postgresql://user@host:5432/database";

void check_url(const std::string& url) {
  HH_REQUIRE(url.find("://") != std::string::npos || url.find('=') != std::string::npos,
             "PostgreSQL: '" << url << "' isn't a URL" << kUrl);
  char* reason = nullptr;
  PQconninfoOption* const options = PQconninfoParse(url.c_str(), &reason);
  // libpq's reason quotes from what may be a password.
  const std::string text = url.find('@') != std::string::npos ? "the URL can't be read"
                           : reason == nullptr                ? "out of memory"
                                                              : one_line(reason);
  PQfreemem(reason);
  const bool good = options != nullptr;
  bool secret = false, port = true;
  for (const PQconninfoOption* o = options; good && o->keyword != nullptr; ++o) {
    if (o->val == nullptr) continue;
    const std::string_view key = o->keyword, value = o->val;
    secret = secret || ((key == "password" || key == "sslpassword") && !value.empty());
    port = port && (key != "port" || value.find_first_not_of("0123456789,") == value.npos);
  }
  PQconninfoFree(options);
  HH_REQUIRE(good, "PostgreSQL: " << text << kUrl);
  HH_REQUIRE(!secret, "PostgreSQL: the URL holds a password, which others on this machine can read"
                          << cure("28P01"));
  HH_REQUIRE(port,
             "PostgreSQL: the URL's port isn't a number (a / in a name is written %2F)" << kUrl);
}

/// What a refusal's text says in its verbose form, "SEVERITY:  STATE: MESSAGE", the severity in any
/// language.
struct Refusal {
  std::string state, message;
};
std::optional<Refusal> refusal_in(const std::string& text) {
  constexpr std::string_view kBefore = ":  ";
  constexpr std::size_t kState = 5;
  for (std::size_t at = text.find(kBefore); at != std::string::npos;
       at = text.find(kBefore, at + 1)) {
    const std::size_t state = at + kBefore.size();
    if (text.size() < state + kState + 1 || text[state + kState] != ':') continue;
    const std::string name = text.substr(state, kState);
    const bool good = std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
    });
    if (!good) continue;
    const std::size_t message = std::min(state + kState + 2, text.size());
    return Refusal{name, one_line(text.substr(message, text.find('\n', message) - message))};
  }
  return std::nullopt;
}

bool is_copy(const pg_result* result) {
  const ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

template <class T>
std::string array_of(std::span<const T> values, unsigned type) {
  std::string bytes;
  append_number(bytes, values.empty() ? 0 : 1, 4);  // dimensions
  append_number(bytes, 0, 4);                       // no NULLs
  append_number(bytes, type, 4);
  if (!values.empty()) {
    append_number(bytes, values.size(), 4);
    append_number(bytes, 1, 4);  // the first is number 1
  }
  for (const T value : values) {
    append_number(bytes, sizeof(T), 4);
    append_number(bytes, std::uint64_t(std::int64_t(value)), sizeof(T));
  }
  return bytes;
}

}  // namespace

void append_number(std::string& bytes, std::uint64_t value, int width) {
  for (int i = width - 1; i >= 0; --i) bytes += char(value >> (8 * i) & 0xff);
}

void append_bits(std::string& bytes, CodesView codes, std::int64_t row) {
  append_number(bytes, std::uint64_t(codes.bits), 4);
  const auto* from = reinterpret_cast<const unsigned char*>(codes.row(row).data());
  for (int i = 0; i < codes.row_bytes(); ++i) {
    // Their first bit is the byte's highest.
    std::uint64_t b = from[i];
    b = (b & 0xf0) >> 4 | (b & 0x0f) << 4;
    b = (b & 0xcc) >> 2 | (b & 0x33) << 2;
    b = (b & 0xaa) >> 1 | (b & 0x55) << 1;
    bytes += char(b);
  }
}

std::string Parameters::add(unsigned type, std::string bytes) {
  types_.push_back(type);
  values_.push_back(std::move(bytes));
  return "$" + std::to_string(values_.size());
}

std::string Parameters::text(std::string_view value) { return add(kText, std::string(value)); }

std::string Parameters::integer(std::int64_t value) {
  std::string bytes;
  append_number(bytes, std::uint64_t(value), 8);
  return add(kInt8, std::move(bytes));
}

std::string Parameters::real(double value) {
  std::string bytes;
  append_number(bytes, std::bit_cast<std::uint64_t>(value), 8);
  return add(kFloat8, std::move(bytes));
}

std::string Parameters::code(CodesView codes, std::int64_t row) {
  std::string bytes;
  append_bits(bytes, codes, row);
  return add(kBit, std::move(bytes));
}

std::string Parameters::integers(std::span<const std::int64_t> values) {
  return add(kInt8Array, array_of(values, kInt8));
}

std::string Parameters::classes(std::span<const int> values) {
  return add(kInt4Array, array_of(values, kInt4));
}

void Rows::Clear::operator()(pg_result* result) const { PQclear(result); }

int Rows::count() const { return PQntuples(result_.get()); }

std::int64_t Rows::changed() const { return std::atoll(PQcmdTuples(result_.get())); }

bool Rows::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Rows::bytes(int row, int column) const {
  if (row >= count() || column >= PQnfields(result_.get()) || is_null(row, column)) {
    throw std::runtime_error("PostgreSQL answers without a value that was asked for");
  }
  return {PQgetvalue(result_.get(), row, column),
          std::size_t(PQgetlength(result_.get(), row, column))};
}

std::int64_t Rows::integer(int row, int column) const {
  const std::string_view from = bytes(row, column);
  std::uint64_t value = 0;
  for (const char c : from) value = value << 8 | static_cast<unsigned char>(c);
  if (from.size() == 8) return std::int64_t(value);
  if (from.size() == 4) return std::int32_t(std::uint32_t(value));
  if (from.size() == 2) return std::int16_t(std::uint16_t(value));
  throw std::runtime_error("PostgreSQL answers with " + std::to_string(from.size()) +
                           " bytes in place of a number");
}

bool Rows::truth(int row, int column) const { return bytes(row, column) == std::string_view("\1"); }

Connection::Connection(const std::string& url, std::function<bool()> stopped)
    : stopped_(std::move(stopped)) {
  check_url(url);
  // What stands before dbname is for what the URL doesn't say.
  const char* const keys[] = {"application_name", "keepalives",
                              "keepalives_idle",  "keepalives_interval",
                              "keepalives_count", "tcp_user_timeout",
                              "connect_timeout",  "dbname",
                              "client_encoding",  nullptr};
  const char* const values[] = {"hybridhash", "1",  "30",        "10",   "3",
                                "60000",      "10", url.c_str(), "UTF8", nullptr};
  connection_ = PQconnectStartParams(keys, values, /*expand_dbname=*/1);
  if (connection_ == nullptr) throw std::bad_alloc();
  try {
    connect();
    set_limits();
  } catch (...) {
    PQfinish(connection_);
    throw;
  }
}

Connection::~Connection() { PQfinish(connection_); }

void Connection::connect() {
  set_name();
  // The state of a refusal is then in its text, which is all that there is of a refused connection.
  PQsetErrorVerbosity(connection_, PQERRORS_VERBOSE);
  // As "relation exists already, skipping": stderr is for what the user must know.
  PQsetNoticeProcessor(
      connection_, [](void*, const char*) {}, nullptr);
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(kConnectSeconds);
  PostgresPollingStatusType status =
      PQstatus(connection_) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
    wait(status == PGRES_POLLING_WRITING,
         std::max(0.0, std::chrono::duration<double>(until - Clock::now()).count()));
    status = PQconnectPoll(connection_);
  }
  set_name();
  if (status == PGRES_POLLING_FAILED) {
    std::string text = PQerrorMessage(connection_);
    const std::optional<Refusal> refusal = refusal_in(text);
    if (!refusal) {  // no server said it
      HH_REQUIRE(!text.starts_with("invalid "), "PostgreSQL: " << one_line(text) << kUrl);
      for (const char* const lasting : {"SSL was required", "certificate"}) {
        if (text.find(lasting) == std::string::npos) continue;
        throw std::runtime_error(name_ + ": " + one_line(text) +
                                 "; see sslmode and sslrootcert in PostgreSQL's manual");
      }
      if (PQconnectionNeedsPassword(connection_) != 0) {
        throw std::runtime_error(name_ + ": " + one_line(text) + cure("28P01"));
      }
      // The host is said already, and what follows the first line are questions.
      if (const std::size_t failed = text.rfind("failed: "); failed != std::string::npos) {
        text = text.substr(failed + 8);
      }
      fail_lost(text.substr(0, text.find('\n')));
    }
    const std::string& said = refusal->message;
    const std::string whole = name_ + ": " + (said.empty() ? "it refuses" : said.substr(0, 300));
    if (passes(refusal->state)) throw TryAgain(whole);
    throw std::runtime_error(whole + cure(refusal->state));
  }
  PQsetErrorVerbosity(connection_, PQERRORS_DEFAULT);
  PQsetnonblocking(connection_, 1);
}

void Connection::set_name() {
  const auto said = [&](const char* text) { return std::string(text == nullptr ? "" : text); };
  name_ = "PostgreSQL";
  if (said(PQhost(connection_)).empty()) return;
  name_ += " at " + said(PQhost(connection_)) + ":" + said(PQport(connection_)) + ", database " +
           said(PQdb(connection_));
}

void Connection::set_limits() {
  patience_ = kGraceSeconds;
  const int version = PQserverVersion(connection_);
  if (version < kOldestServer) {
    throw std::runtime_error(name_ + ": " + server() + " is too old; use 15 or later");
  }
  const char* const encoding = PQparameterStatus(connection_, "server_encoding");
  if (encoding == nullptr || std::string_view(encoding) != "UTF8") {
    throw std::runtime_error(name_ + ": the database's encoding is " +
                             (encoding == nullptr ? "unknown" : encoding) +
                             "; make one with ENCODING 'UTF8' TEMPLATE template0");
  }
  const Rows limit =
      run("SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'");
  std::int64_t milliseconds = limit.integer(0, 0);
  if (milliseconds == 0) {
    milliseconds = std::int64_t(kStatementSeconds * 1000);
    run("SET statement_timeout = " + std::to_string(milliseconds));
  }
  patience_ = double(milliseconds) / 1000 + kGraceSeconds;
  // A change that waits for another's lock of the table must not stop all that come behind it.
  run("SET lock_timeout = '60s'");
  run("SET idle_in_transaction_session_timeout = '10min'");
  // Patterns of filters are written so.
  run("SET standard_conforming_strings = on");
  // A search is one scan: compiling it takes longer than it gains.
  run("SET jit = off");
}

bool Connection::alive() const { return !lost_ && PQstatus(connection_) == CONNECTION_OK; }

std::string Connection::server() const {
  const int version = PQserverVersion(connection_);
  return "PostgreSQL " + std::to_string(version / 10000) + "." + std::to_string(version % 10000);
}

void Connection::wait(bool write, double seconds) {
  pollfd socket{.fd = PQsocket(connection_),
                .events = short(write ? POLLIN | POLLOUT : POLLIN),
                .revents = 0};
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    if (stopped_()) fail_lost("stopped");
    const double left = std::chrono::duration<double>(until - Clock::now()).count();
    const int ready = ::poll(&socket, 1, int(std::clamp(left, 0.0, kBetweenLooks) * 1000));
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) fail_lost("the connection can't be waited for");
    if (ready == 0 && left <= 0) fail_lost("no answer in time");
  }
}

void Connection::fail_lost(const std::string& what) {
  // Where there are bytes under way, nobody knows of which answer they would be.
  const std::string text = what.empty() ? one_line(PQerrorMessage(connection_)) : what;
  lost_ = true;
  throw TryAgain(name_ + ": " + (text.empty() ? "the connection is lost" : text));
}

void Connection::flush() {
  while (true) {
    const int left = PQflush(connection_);
    if (left == 0) return;
    if (left < 0) fail_lost("");
    wait(/*write=*/true, patience_);
    if (PQconsumeInput(connection_) == 0) fail_lost("");
  }
}

pg_result* Connection::next() {
  // A limit for all of it: a byte now and then isn't an answer.
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(patience_);
  while (true) {
    const int left = PQflush(connection_);
    if (left < 0) fail_lost("");
    if (PQisBusy(connection_) == 0) return PQgetResult(connection_);
    wait(left > 0, std::max(0.0, std::chrono::duration<double>(until - Clock::now()).count()));
    if (PQconsumeInput(connection_) == 0) fail_lost("");
  }
}

void Connection::fail_sql(const pg_result* result) {
  const auto field = [&](int which) {
    const char* const text = PQresultErrorField(result, which);
    return std::string(text == nullptr ? "" : text);
  };
  const std::string state = field(PG_DIAG_SQLSTATE);
  std::string text = one_line(field(PG_DIAG_MESSAGE_PRIMARY));
  if (text.empty()) text = one_line(PQresultErrorMessage(result));
  if (text.empty()) text = "the connection is lost";
  if (const std::string more = one_line(field(PG_DIAG_MESSAGE_DETAIL)); !more.empty()) {
    text += ": " + more.substr(0, 300);
  }
  text = name_ + ": " + text + cure(state);
  // Without a state it was libpq that lost the connection.
  if (state.empty() || passes(state)) throw TryAgain(text);
  throw SqlError(text, state);
}

Rows Connection::next_of_rest(int& count) {
  constexpr int kMost = 100;
  pg_result* const result = next();
  Rows rows(result);
  if (result != nullptr && (is_copy(result) || ++count > kMost)) {
    fail_lost("it answers what wasn't asked");
  }
  return rows;
}

void Connection::drain() {
  for (int count = 0; next_of_rest(count);) {
  }
}

std::int64_t Connection::end_of_copy() {
  std::int64_t changed = 0;
  std::exception_ptr error;
  for (int count = 0;;) {
    Rows rows = next_of_rest(count);
    if (!rows) break;
    try {
      changed = checked(rows.release()).changed();
    } catch (...) {
      if (!alive()) throw;
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
  return changed;
}

Rows Connection::checked(pg_result* result) {
  Rows rows(result);
  const ExecStatusType status = PQresultStatus(result);
  if (result == nullptr) fail_lost("");
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_PIPELINE_SYNC) {
    return rows;
  }
  fail_sql(result);
}

void Connection::send(const std::string& sql, const Parameters& parameters) {
  const std::size_t n = parameters.values_.size();
  std::vector<const char*> values;
  std::vector<int> lengths;
  for (const std::string& value : parameters.values_) {
    values.push_back(value.data());
    lengths.push_back(int(value.size()));
  }
  const std::vector<int> binary(n, 1);
  if (PQsendQueryParams(connection_, sql.c_str(), int(n), parameters.types_.data(), values.data(),
                        lengths.data(), binary.data(), /*binary results*/ 1) == 0) {
    fail_lost("");
  }
}

Rows Connection::run(const std::string& sql, const Parameters& parameters) {
  send(sql, parameters);
  pg_result* const first = next();
  try {
    Rows rows = checked(first);
    drain();
    return rows;
  } catch (const SqlError&) {
    drain();
    throw;
  } catch (const TryAgain&) {
    if (alive()) drain();
    throw;
  }
}

std::vector<Rows> Connection::run_each(const std::string& sql,
                                       std::span<const Parameters> parameters) {
  std::vector<Rows> all;
  if (parameters.size() == 1) {  // the usual case needs no pipeline
    all.push_back(run(sql, parameters[0]));
    return all;
  }
  // So many at once: the server waits to be read from when its answers are long.
  constexpr std::size_t kAtOnce = 256;
  for (std::size_t begin = 0; begin < parameters.size(); begin += kAtOnce) {
    const auto some = parameters.subspan(begin, std::min(kAtOnce, parameters.size() - begin));
    if (PQenterPipelineMode(connection_) == 0) fail_lost("");
    for (const Parameters& one : some) send(sql, one);
    if (PQpipelineSync(connection_) == 0) fail_lost("");
    std::exception_ptr error;
    for (std::size_t i = 0; i < some.size(); ++i) {
      pg_result* const result = next();
      if (result != nullptr && PQresultStatus(result) == PGRES_PIPELINE_ABORTED) {
        PQclear(result);  // those behind the one that failed
      } else {
        try {
          all.push_back(checked(result));
        } catch (...) {
          if (!alive()) throw;
          error = std::current_exception();
        }
      }
      PQclear(next());  // the null behind each answer
    }
    PQclear(next());  // the sync
    if (PQexitPipelineMode(connection_) == 0) fail_lost("");
    if (error) std::rethrow_exception(error);
  }
  return all;
}

void Connection::check_copy(pg_result* first, int wanted) {
  if (first != nullptr && PQresultStatus(first) == ExecStatusType(wanted)) return;
  try {
    checked(first);
  } catch (const SqlError&) {
    drain();  // so that the connection can be used on
    throw;
  }
  fail_lost("COPY wasn't answered as such");
}

std::int64_t Connection::copy_in(const std::string& sql,
                                 const std::function<bool(std::string&)>& more) {
  send(sql, {});
  pg_result* const first = next();
  check_copy(first, PGRES_COPY_IN);
  PQclear(first);
  std::string bytes;
  try {
    for (bool goes_on = true; goes_on;) {
      bytes.clear();
      goes_on = more(bytes);
      if (bytes.empty()) continue;
      int put = 0;
      while ((put = PQputCopyData(connection_, bytes.data(), int(bytes.size()))) == 0) flush();
      if (put < 0) fail_lost("");
      flush();
    }
  } catch (...) {
    lost_ = true;  // the server waits for the rest
    throw;
  }
  int ended = 0;
  while ((ended = PQputCopyEnd(connection_, nullptr)) == 0) flush();
  if (ended < 0) fail_lost("");
  flush();
  return end_of_copy();
}

void Connection::copy_out(const std::string& sql,
                          const std::function<void(std::string_view)>& take) {
  send(sql, {});
  pg_result* const first = next();
  check_copy(first, PGRES_COPY_OUT);
  PQclear(first);
  while (true) {
    char* piece = nullptr;
    const int size = PQgetCopyData(connection_, &piece, /*async=*/1);
    if (size > 0) {
      const std::unique_ptr<char, void (*)(void*)> owned(piece, PQfreemem);
      try {
        take({piece, std::size_t(size)});
      } catch (...) {
        lost_ = true;  // the rest is of no use
        throw;
      }
    } else if (size == 0) {
      wait(/*write=*/false, patience_);
      if (PQconsumeInput(connection_) == 0) fail_lost("");
    } else {
      break;
    }
  }
  end_of_copy();
}

Transaction::Transaction(Connection& connection, const char* begin) : connection_(connection) {
  connection_.run(begin);
}

Transaction::~Transaction() {
  if (done_ || !connection_.alive()) return;
  try {
    connection_.run("ROLLBACK");
  } catch (const std::exception&) {  // then it is the server that rolls back
  }
}

void Transaction::commit() {
  done_ = true;
  connection_.run("COMMIT");
}

}  // namespace hh::retrieval::postgres
