// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/milvus/connection.h"

#include <grpc/support/log.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "engine/files/file_error.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

constexpr int kDefaultPort = 19530;
constexpr int kMaxAnswer = 512 << 20;  // bytes

struct Place {
  std::string host, database;  // the host with its port
  bool tls = false;
};

Place parse(const std::string& url) {
  HH_REQUIRE(url.find('@') == std::string::npos,
             "the URL of Milvus holds an @, as before a password it does, which others on this "
             "machine could read: put both into the environment, MILVUS_TOKEN=user:password");
  Place place;
  std::string rest = url;
  if (const std::size_t scheme = url.find("://"); scheme != std::string::npos) {
    const std::string name = url.substr(0, scheme);
    HH_REQUIRE(name == "http" || name == "https",
               "URL '" << url << "': write it as http://HOST:19530 or https://HOST:19530");
    place.tls = name == "https";
    rest = url.substr(scheme + 3);
  }
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  place.host = rest.substr(0, slash);
  if (slash < rest.size()) place.database = rest.substr(slash + 1);
  const std::size_t bracket = place.host.rfind(']'), colon = place.host.rfind(':');
  const bool has_port =
      colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  int port = kDefaultPort;
  if (has_port) {
    const char* const end = place.host.data() + place.host.size();
    const auto [stop, error] = std::from_chars(place.host.data() + colon + 1, end, port);
    HH_REQUIRE(error == std::errc() && stop == end && port > 0 && port < 65536,
               "URL '" << url << "': the port is a number from 1 to 65535");
  } else {
    place.host += ":" + std::to_string(port);
  }
  constexpr const char* kOfHosts =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]%";
  HH_REQUIRE(place.host[0] != ':' && place.host.find_first_not_of(kOfHosts) == std::string::npos &&
                 place.database.find_first_of("/?@") == std::string::npos,
             "URL '" << url << "': write it as http://HOST:19530 or http://HOST:19530/DATABASE");
  return place;
}

std::string base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned word = 0;
    for (std::size_t j = i; j < i + 3; ++j) {
      word = word << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u);
    }
    for (int digit = 0; digit < 4; ++digit) {
      const bool there = i + std::size_t(digit) <= bytes.size();
      text += there ? kDigits[word >> (18 - 6 * digit) & 63] : '=';
    }
  }
  return text;
}

/// gRPC's own roots may be elsewhere than the system's.
std::shared_ptr<grpc::ChannelCredentials> tls_credentials() {
  grpc::SslCredentialsOptions options;
  const char* const chosen = std::getenv("SSL_CERT_FILE");
  std::ifstream file(chosen != nullptr ? chosen : "/etc/ssl/certs/ca-certificates.crt");
  options.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
  return grpc::SslCredentials(options);
}

/// What a server said, in one line that isn't too long.
std::string shown(const std::string& reason) {
  constexpr std::size_t kMost = 300;
  std::string text = one_line(repaired_utf8(reason));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  if (text.size() <= kMost) return text;
  std::size_t cut = kMost;
  while ((static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) --cut;
  return text.substr(0, cut) + "...";
}

// Numbers of the protocol: since 2.3, and before.
constexpr int kNotFound = 100, kNotLoaded = 101, kRateLimit = 8;
constexpr int kOldNotFound = 4, kOldRateLimit = 49;
// Not ready, unavailable, no memory, too many requests; denied for lack of memory or disk (9, 10); on its
// way back (103, 106); no node or channel (500 and on).
constexpr std::array kAgain{1,   2,   3,   4,   6,   7,   kRateLimit, 9,  10,
                            103, 106, 500, 501, 502, 503, 504,        901};
// No replica, denied, too little memory or disk, late, not ready.
constexpr std::array kOldAgain{46, 48, kOldRateLimit, 52, 53, 54, 55, 56, 57};

template <class List>
bool has(const List& list, int value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

MilvusConnection::MilvusConnection(const std::string& url) {
  // Its lines on stderr would stand beside the one that says what is wrong.
  gpr_set_log_function([](gpr_log_func_args*) {});
  const Place place = parse(url);
  name_ = "Milvus at " + place.host;
  database_ = place.database;
  if (const char* const token = std::getenv("MILVUS_TOKEN"); token != nullptr && *token != '\0') {
    token_ = base64(token);
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxAnswer);
  stub_ = milvus::MilvusService::NewStub(grpc::CreateCustomChannel(
      place.host, place.tls ? tls_credentials() : grpc::InsecureChannelCredentials(), arguments));
}

void MilvusConnection::fail(const std::string& what) const {
  throw std::runtime_error(name_ + ": " + what);
}

void MilvusConnection::prepare(grpc::ClientContext& context, int seconds) const {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  if (!token_.empty()) context.AddMetadata("authorization", token_);
}

void MilvusConnection::check(const grpc::Status& status, int seconds) const {
  const std::string why = ": " + shown(status.error_message());
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      throw TryAgain(name_ + " gave no answer for " + std::to_string(seconds) +
                     " s; try again later");
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::ABORTED:
      throw TryAgain(name_ + " can't be reached" + why + "; is it running?");
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      throw MilvusTooLarge(name_ + why);
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      throw std::invalid_argument(
          name_ + " refuses" + why +
          "; put user:password or a token into the environment, MILVUS_TOKEN=...");
    case grpc::StatusCode::UNIMPLEMENTED:
      fail("it isn't a Milvus of version 2.3 or later" + why + "; check the URL");
    default:
      fail("it failed" + why);
  }
}

void MilvusConnection::check(const milvus::Status& status) const {
  if (status.code() == 0 && status.error_code() == 0) return;
  const std::string why = ": " + shown(status.reason());
  if (status.code() == kNotFound || (status.code() == 0 && status.error_code() == kOldNotFound)) {
    throw MilvusNotFound(name_ + why);
  }
  // It has no number of its own.
  if (status.reason().find("exceed the limit size") != std::string::npos) {
    throw MilvusTooLarge(name_ + why);
  }
  if (status.code() == kNotLoaded) throw MilvusNotLoaded(name_ + why);
  const bool again = status.retriable() || has(kAgain, status.code()) ||
                     (status.code() == 0 && has(kOldAgain, status.error_code()));
  if (again) throw TryAgain(name_ + " can't do it now" + why + "; try again later");
  fail("it refuses" + why);
}

bool MilvusConnection::wait_for_turn(const milvus::Status& status, int tries) {
  constexpr int kTries = 8;
  const bool limited = status.code() == kRateLimit || status.error_code() == kOldRateLimit;
  if (!limited || tries >= kTries) return false;
  std::this_thread::sleep_for(std::chrono::milliseconds(50 << tries));
  return true;
}

}  // namespace hh::retrieval
