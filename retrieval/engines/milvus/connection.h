// SPDX-License-Identifier: Apache-2.0
// Calls of a Milvus server: each has a deadline, and what goes wrong becomes an exception as
// retrieval/engines/collection.h has them.
#pragma once
#include <grpcpp/grpcpp.h>
#include <milvus.grpc.pb.h>  // made from milvus.proto

#include <memory>
#include <string>

namespace hh::retrieval {

namespace milvus = ::milvus::proto::milvus;

/// The answer is larger than the server or this program takes.
struct MilvusTooLarge : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// There is no collection of that name, or it isn't in the server's memory.
struct MilvusNotFound : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct MilvusNotLoaded : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class MilvusConnection {
 public:
  using Stub = milvus::MilvusService::Stub;

  /// [http[s]://]HOST[:PORT][/DATABASE]; MILVUS_TOKEN of the environment is sent with each call. Throws
  /// std::invalid_argument. Connects with the first call.
  explicit MilvusConnection(const std::string& url);

  /// "Milvus at HOST:PORT", for errors.
  const std::string& name() const { return name_; }

  /// One call. Throws also what the answer's status says.
  template <class Request, class Response>
  Response call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                Request& request, int seconds) {
    if constexpr (requires { request.set_db_name(database_); }) request.set_db_name(database_);
    for (int tries = 0;; ++tries) {
      grpc::ClientContext context;
      prepare(context, seconds);
      Response response;
      check((stub_.get()->*method)(&context, request, &response), seconds);
      const milvus::Status* status = nullptr;
      if constexpr (requires { response.status(); }) {
        status = &response.status();
      } else {
        status = &response;
      }
      if (!wait_for_turn(*status, tries)) {
        check(*status);
        return response;
      }
    }
  }

  [[noreturn]] void fail(const std::string& what) const;

 private:
  void prepare(grpc::ClientContext& context, int seconds) const;
  void check(const grpc::Status& status, int seconds) const;
  void check(const milvus::Status& status) const;
  /// Whether the server refused the call, before it did anything, since there are too many, and it
  /// is worth another try. Has waited then.
  static bool wait_for_turn(const milvus::Status& status, int tries);

  std::string name_, database_, token_;
  std::unique_ptr<Stub> stub_;
};

}  // namespace hh::retrieval
