// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <new>
#include <stdexcept>
#include <utility>

#include "engine/text/log.h"

namespace hh::apps {
namespace {

constexpr std::int64_t kNanoseconds = 1'000'000'000;

/// OpenSSL's own words for the last error, of which the rest is forgotten, but where they say nothing.
std::string reason() {
  const unsigned long error = ERR_peek_last_error();
  const char* text = ERR_reason_error_string(error);
  ERR_clear_error();
  switch (ERR_GET_LIB(error)) {
    case ERR_LIB_X509:
      return "it belongs to another certificate";
    case ERR_LIB_PEM:
      return "it is no PEM, or has a passphrase";
    case ERR_LIB_SSL:
      if (ERR_GET_REASON(error) == ERR_R_PEM_LIB) return "it is no PEM, or has a passphrase";
      if (ERR_GET_REASON(error) == SSL_R_NO_CERTIFICATE_ASSIGNED) {
        return "it belongs to another certificate";
      }
      break;
    default:
      break;
  }
  return text != nullptr ? text : "it can't be read";
}

[[noreturn]] void refuse(const std::string& option, const std::filesystem::path& path,
                         const std::string& cure) {
  throw std::invalid_argument(option + " " + path.string() + ": " + reason() + "; " + cure);
}

}  // namespace

void TlsFree::operator()(SSL* ssl) const { SSL_free(ssl); }
void TlsFree::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

TlsCertificate::TlsCertificate(const std::filesystem::path& certificate,
                               const std::filesystem::path& key)
    : certificate_(certificate), key_(key), stamp_(stamp()), context_(load()) {}

TlsCertificate::Stamp TlsCertificate::stamp() const {
  Stamp stamp;
  for (int i = 0; i < 2; ++i) {
    struct stat facts {};
    if (::stat((i == 0 ? certificate_ : key_).c_str(), &facts) != 0) return {};
    stamp.inode[i] = facts.st_ino;
    stamp.size[i] = std::uint64_t(facts.st_size);
    stamp.nanoseconds[i] = facts.st_mtim.tv_sec * kNanoseconds + facts.st_mtim.tv_nsec;
  }
  return stamp;
}

TlsCertificate::Context TlsCertificate::load() const {
  ERR_clear_error();
  for (const auto& [option, path] :
       {std::pair("--tls-cert", &certificate_), std::pair("--tls-key", &key_)}) {
    // A pipe would be waited for, and read once.
    if (!std::filesystem::is_regular_file(*path)) {
      throw std::invalid_argument(std::string(option) + " " + path->string() +
                                  ": it is no regular file; give one");
    }
  }
  Context context(SSL_CTX_new(TLS_server_method()));
  if (!context) throw std::bad_alloc();
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // A write that waits goes on from where it stopped; idle connections keep no buffers.
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  // Else OpenSSL asks the terminal.
  SSL_CTX_set_default_passwd_cb(raw, [](char*, int, int, void*) { return 0; });
  if (SSL_CTX_use_certificate_chain_file(raw, certificate_.c_str()) != 1) {
    refuse("--tls-cert", certificate_, "use a PEM file with the certificate and those it hangs on");
  }
  if (SSL_CTX_use_PrivateKey_file(raw, key_.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(raw) != 1) {
    refuse("--tls-key", key_, "use a PEM file with the certificate's key, without a passphrase");
  }
  if (X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(raw))) < 0) {
    log(LogLevel::kWarning, "--tls-cert " + certificate_.string() +
                                ": it has expired, and clients will refuse it; renew it");
  }
  return context;
}

TlsSession TlsCertificate::session(int descriptor) {
  const std::lock_guard lock(mutex_);
  if (const Stamp now = stamp(); !(now == stamp_) && !(now == Stamp{})) {
    try {
      context_ = load();
    } catch (const std::invalid_argument& error) {
      log(LogLevel::kWarning, std::string("the older certificate is used: ") + error.what());
    }
    stamp_ = now;
  }
  TlsSession session(SSL_new(context_.get()));
  if (!session || SSL_set_fd(session.get(), descriptor) != 1) throw std::bad_alloc();
  return session;
}

}  // namespace hh::apps
