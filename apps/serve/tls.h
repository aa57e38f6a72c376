// SPDX-License-Identifier: Apache-2.0
// TLS 1.2 and 1.3 for connections, by OpenSSL.
#pragma once
#include <openssl/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

namespace hh::apps {

struct TlsFree {
  void operator()(SSL* ssl) const;
  void operator()(SSL_CTX* context) const;
};
using TlsSession = std::unique_ptr<SSL, TlsFree>;

/// A certificate with its key, in PEM. A renewed one is taken for the next connection.
class TlsCertificate {
 public:
  /// Throws std::invalid_argument: files that can't be read or aren't PEM, a key of another
  /// certificate or with a passphrase.
  TlsCertificate(const std::filesystem::path& certificate, const std::filesystem::path& key);

  /// The server's side of a connection, before its handshake. Safe from many threads. Files that
  /// changed and are wrong are warned of, and the older ones stay.
  TlsSession session(int descriptor);

 private:
  using Context = std::unique_ptr<SSL_CTX, TlsFree>;
  /// By which replaced files show.
  struct Stamp {
    std::uint64_t inode[2] = {}, size[2] = {};
    std::int64_t nanoseconds[2] = {};
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const;
  Context load() const;

  const std::filesystem::path certificate_, key_;
  std::mutex mutex_;
  Stamp stamp_;
  Context context_;
};

}  // namespace hh::apps
