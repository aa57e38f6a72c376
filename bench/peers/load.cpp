// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>

#include <stdexcept>

#include "bench/peers/peers.h"

namespace hh::bench {

std::filesystem::path peers_library() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libhh_bench_peers.so";
}

const PeerTable& peers() {
  static const PeerTable& table = [&]() -> const PeerTable& {
    void* library = dlopen(peers_library().c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      throw std::runtime_error(std::string("--peers: ") + dlerror() +
                               "; it is built with the cuda preset where cuDNN 9 and the headers "
                               "of nvidia-cudnn-frontend are (docs/benchmarks.md, Peers)");
    }
    return *reinterpret_cast<GetPeers*>(dlsym(library, kGetPeers))();
  }();
  return table;
}

}  // namespace hh::bench
