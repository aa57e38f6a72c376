// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/tls.h"

#include <httplib.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "apps/serve/http.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"

namespace hh::apps {
namespace {

using Catch::Contains;
using Clock = std::chrono::steady_clock;

/// A key and its own certificate for 127.0.0.1, as PEM files FOLDER/NAME.key and .crt.
void make_certificate(const testing::TemporaryFolder& folder, const std::string& name, long serial,
                      const char* passphrase = nullptr) {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const made = X509_new();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), serial);
  X509_gmtime_adj(X509_getm_notBefore(made), -60);
  X509_gmtime_adj(X509_getm_notAfter(made), 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("127.0.0.1"), -1, -1, 0);
  X509_set_issuer_name(made, X509_get_subject_name(made));
  X509_EXTENSION* const names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
  X509_add_ext(made, names, -1);
  X509_EXTENSION_free(names);
  X509_set_pubkey(made, key);
  REQUIRE(X509_sign(made, key, EVP_sha256()) > 0);
  const auto file = [&](const std::string& path) {
    std::FILE* const out = std::fopen(path.c_str(), "w");
    REQUIRE(out != nullptr);
    return out;
  };
  // As renewals do it: under another name, and then in its place.
  const std::string key_path = folder / (name + ".key"), path = folder / (name + ".crt");
  std::FILE* out = file(key_path + ".new");
  const EVP_CIPHER* const cipher = passphrase != nullptr ? EVP_aes_128_cbc() : nullptr;
  PEM_write_PrivateKey(out, key, cipher, nullptr, 0, nullptr, const_cast<char*>(passphrase));
  std::fclose(out);
  out = file(path + ".new");
  PEM_write_X509(out, made);
  std::fclose(out);
  std::filesystem::rename(key_path + ".new", key_path);
  std::filesystem::rename(path + ".new", path);
  X509_free(made);
  EVP_PKEY_free(key);
}

/// Says how long the body was.
class Lengths final : public HttpApplication {
 public:
  std::optional<HttpResponse> before_body(const HttpRequest& request) override {
    if (request.method == "POST") return std::nullopt;
    return HttpResponse{.body = std::string(std::size_t(std::stol(request.path.substr(1))), 'x')};
  }
  HttpResponse with_body(const HttpRequest& request) override {
    return {.body = std::to_string(request.body.size())};
  }
  void answered(const HttpAnswered&) override {}
};

class TlsServer {
 public:
  TlsServer(const testing::TemporaryFolder& folder, double seconds, int concurrent = 8)
      : certificate_(std::filesystem::path(folder / "a.crt"),
                     std::filesystem::path(folder / "a.key")),
        server_(application_, {.concurrent = concurrent, .seconds = seconds, .tls = &certificate_}),
        port(server_.bind("127.0.0.1", 0)) {
    std::signal(SIGPIPE, SIG_IGN);
    running_ = std::jthread([this] { server_.run([this] { return stop_.load(); }); });
  }
  ~TlsServer() { stop_ = true; }

 private:
  TlsCertificate certificate_;
  Lengths application_;
  HttpServer server_;
  std::atomic<bool> stop_ = false;
  std::jthread running_;

 public:
  const int port;
};

/// A connection without TLS.
int connected(int port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(std::uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return descriptor;
}

/// What comes back for these bytes, until the server closes.
std::string plainly(int port, const std::string& bytes) {
  const int descriptor = connected(port);
  if (!bytes.empty()) ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  std::string answer;
  char block[4096];
  for (ssize_t got; (got = ::recv(descriptor, block, sizeof block, 0)) > 0;) {
    answer.append(block, std::size_t(got));
  }
  ::close(descriptor);
  return answer;
}

/// Of the certificate that the server shows; -1: no connection.
long shown_serial(int port, int most_version = TLS1_3_VERSION) {
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(context, 0);  // this side would take whatever the other does
  SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context, most_version);
  BIO* const connection = BIO_new_ssl_connect(context);
  BIO_set_conn_hostname(connection, ("127.0.0.1:" + std::to_string(port)).c_str());
  long serial = -1;
  SSL* ssl = nullptr;
  BIO_get_ssl(connection, &ssl);
  if (BIO_do_connect(connection) == 1 && BIO_do_handshake(connection) == 1) {
    X509* const shown = SSL_get1_peer_certificate(ssl);
    serial = ASN1_INTEGER_get(X509_get0_serialNumber(shown));
    X509_free(shown);
  }
  BIO_free_all(connection);
  SSL_CTX_free(context);
  return serial;
}

TEST_CASE("requests and answers of all sizes pass by TLS", "[tls]") {
  const testing::TemporaryFolder folder;
  make_certificate(folder, "a", 1);
  TlsServer server(folder, 30);
  httplib::SSLClient client("127.0.0.1", server.port);
  client.set_ca_cert_path((folder / "a.crt").c_str());
  client.enable_server_certificate_verification(true);
  client.set_keep_alive(true);
  for (const int size : {0, 1, 16 << 10, 5'000'000, 17}) {
    CAPTURE(size);
    const auto got = client.Get("/" + std::to_string(size));
    REQUIRE(got);
    CHECK(got->body == std::string(std::size_t(size), 'x'));
    if (size == 0) continue;
    const auto sent = client.Post("/api/x", std::string(std::size_t(size), 'y'), "text/plain");
    REQUIRE(sent);
    CHECK(sent->body == std::to_string(size));
  }
}

TEST_CASE("a port of TLS answers no plain HTTP, and nobody who is slow", "[tls]") {
  const testing::TemporaryFolder folder;
  make_certificate(folder, "a", 1);
  TlsServer server(folder, 1, 2);
  CHECK_THAT(plainly(server.port, "GET /3 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
             !Contains("HTTP/") && !Contains("xxx"));
  CHECK(plainly(server.port, "\x16\x03\x01\x40").empty());  // a record that never ends
  const auto start = Clock::now();
  CHECK(plainly(server.port, "").empty());
  const double waited = std::chrono::duration<double>(Clock::now() - start).count();
  CHECK(waited > .5);
  CHECK(waited < 10);
  CHECK(shown_serial(server.port) == 1);
}

TEST_CASE("connections that say nothing make room, and hold up no end", "[tls]") {
  const testing::TemporaryFolder folder;
  make_certificate(folder, "a", 1);
  std::vector<int> silent;
  std::optional<TlsServer> server;
  server.emplace(folder, 30, 4);
  for (int i = 0; i < 8; ++i) silent.push_back(connected(server->port));
  std::this_thread::sleep_for(std::chrono::milliseconds(800));
  httplib::SSLClient client("127.0.0.1", server->port);
  client.enable_server_certificate_verification(false);
  const auto got = client.Get("/3");
  REQUIRE(got);
  CHECK(got->status == 200);
  silent.push_back(connected(server->port));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto start = Clock::now();
  server.reset();
  CHECK(std::chrono::duration<double>(Clock::now() - start).count() < 6);
  for (const int descriptor : silent) ::close(descriptor);
}

TEST_CASE("versions before 1.2 are refused", "[tls]") {
  const testing::TemporaryFolder folder;
  make_certificate(folder, "a", 1);
  TlsServer server(folder, 5);
  CHECK(shown_serial(server.port, TLS1_1_VERSION) == -1);
  CHECK(shown_serial(server.port, TLS1_2_VERSION) == 1);
  CHECK(shown_serial(server.port, TLS1_3_VERSION) == 1);
}

TEST_CASE("a renewed certificate is taken, one that doesn't fit is not", "[tls]") {
  const testing::TemporaryFolder folder;
  make_certificate(folder, "a", 1);
  make_certificate(folder, "b", 9);
  TlsServer server(folder, 5);
  CHECK(shown_serial(server.port) == 1);
  make_certificate(folder, "a", 2);
  CHECK(shown_serial(server.port) == 2);
  std::filesystem::rename(folder / "b.crt", folder / "a.crt");
  CHECK(shown_serial(server.port) == 2);
  std::filesystem::remove(folder / "a.crt");
  CHECK(shown_serial(server.port) == 2);
}

TEST_CASE("what is wrong with a certificate or its key is one line", "[tls]") {
  const testing::TemporaryFolder folder;
  make_certificate(folder, "a", 1);
  make_certificate(folder, "b", 2);
  make_certificate(folder, "locked", 3, "secret");
  testing::write_text(folder / "text", "no PEM\n");
  std::filesystem::create_directory(folder / "index");
  const auto refused = [&](const char* certificate, const char* key, const std::string& why) {
    CAPTURE(certificate, key);
    const testing::Outcome outcome = testing::run_program(
        folder.path(), {"serve", "--index", folder / "index", "--port", "0", "--tls-cert",
                        folder / certificate, "--tls-key", folder / key});
    CHECK(outcome.status == 2);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Contains(why));
  };
  refused("a.crt", "b.key",
          "b.key: it belongs to another certificate; use a PEM file with the certificate's key");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  refused("pipe", "a.key", "it is no regular file");
  refused("text", "a.key", "--tls-cert");
  refused("a.crt", "text", "--tls-key");
  refused("a.key", "a.key", "--tls-cert");
  refused("locked.crt", "locked.key", "it is no PEM, or has a passphrase");
  refused("none", "a.key", "none");
  const testing::Outcome alone = testing::run_program(
      folder.path(), {"serve", "--index", folder / "index", "--tls-cert", folder / "a.crt"});
  CHECK(alone.status == 2);
  CHECK_THAT(alone.err, Contains("--tls-key"));
}

}  // namespace
}  // namespace hh::apps
