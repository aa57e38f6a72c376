// SPDX-License-Identifier: Apache-2.0
// libhh_mpi.so: ranks on CPUs, by MPI. A library of its own, since MPI has no common binary
// interface and a program without other ranks needs none. MPI's default handler ends all ranks on
// an error of its own, so no status is looked at here.
#include <mpi.h>

#include <cstring>
#include <vector>

#include "engine/distributed/interface_identity.h"
#include "engine/distributed/ranks.h"

namespace hh {
namespace {

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(const Place& place) : Communicator(place, kCpu) {}
  ~MpiCommunicator() override { MPI_Finalize(); }

  static Place join() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    Place place;
    MPI_Comm_rank(MPI_COMM_WORLD, &place.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &place.size);
    MPI_Comm local = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, place.rank, MPI_INFO_NULL, &local);
    MPI_Comm_rank(local, &place.local_rank);
    MPI_Comm_size(local, &place.local_size);
    MPI_Comm_free(&local);
    return place;
  }

  std::string name() const override {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    const std::string version(text, std::size_t(length));
    return version.substr(0, version.find_first_of(",\n"));
  }

  void abort(int status) noexcept override {
    MPI_Abort(MPI_COMM_WORLD, status);
    std::_Exit(status);  // where a launcher is slow
  }

 private:
  void queue_all_gather(const void* in, void* out, std::size_t bytes) override {
    const bool in_place = in == static_cast<std::byte*>(out) + bytes * std::size_t(rank());
    MPI_Allgather(in_place ? MPI_IN_PLACE : in, int(bytes), MPI_BYTE, out, int(bytes), MPI_BYTE,
                  MPI_COMM_WORLD);
  }
  void queue_all_gather(void* data, std::span<const Part> parts) override {
    const Counts counts(parts);
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_BYTE, data, counts.bytes.data(), counts.begins.data(),
                   MPI_BYTE, MPI_COMM_WORLD);
  }
  void queue_all_to_all(const void* data, void* out, std::span<const Part> parts) override {
    const Counts send(parts);
    Counts receive(parts);
    const int own = send.bytes[std::size_t(rank())];
    for (int r = 0; r < size(); ++r) {
      receive.bytes[std::size_t(r)] = own;
      receive.begins[std::size_t(r)] = r * own;
    }
    MPI_Alltoallv(data, send.bytes.data(), send.begins.data(), MPI_BYTE, out, receive.bytes.data(),
                  receive.begins.data(), MPI_BYTE, MPI_COMM_WORLD);
  }
  void queue_all_reduce(void* data, std::size_t count, Reduction reduction) override {
    const bool is_f64 = reduction == Reduction::kSumF64;
    MPI_Allreduce(MPI_IN_PLACE, data, int(count), is_f64 ? MPI_DOUBLE : MPI_INT64_T,
                  reduction == Reduction::kMaxI64 ? MPI_MAX : MPI_SUM, MPI_COMM_WORLD);
  }
  void queue_broadcast(void* data, std::size_t bytes, int root) override {
    MPI_Bcast(data, int(bytes), MPI_BYTE, root, MPI_COMM_WORLD);
  }
  void wait_for_all() override { MPI_Barrier(MPI_COMM_WORLD); }

  /// Parts as MPI takes them.
  struct Counts {
    std::vector<int> bytes, begins;
    explicit Counts(std::span<const Part> parts) {
      for (const Part& part : parts) {
        bytes.push_back(int(part.bytes));
        begins.push_back(int(part.begin));
      }
    }
  };
};

}  // namespace
}  // namespace hh

extern "C" __attribute__((visibility("default"))) hh::Communicator* hh_create_mpi_communicator() {
  return new hh::MpiCommunicator(hh::MpiCommunicator::join());
}

extern "C" __attribute__((visibility("default"))) std::uint64_t hh_mpi_build_identity() {
  return hh::kCommunicatorIdentity;
}
