// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/open_collection.h"

#include <dlfcn.h>

#include <stdexcept>

#include "kernels/core/check.h"
#include "retrieval/engines/interface_identity.h"

namespace hh::retrieval {
namespace {

void check_name(const std::string& name) {
  constexpr const char* kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
  const bool good = !name.empty() && name.size() <= std::size_t(kMaxCollectionName) &&
                    name.find_first_not_of(kLetters) == std::string::npos &&
                    (name[0] < '0' || name[0] > '9');
  HH_REQUIRE(good, "collection '" << name << "': use up to " << kMaxCollectionName
                                  << " letters, digits and _, no digit first");
}

/// user:password@ in front of the host is seen by everyone who lists the machine's processes.
void check_url(const CollectionPlace& place) {
  const std::string& url = place.url;
  const std::size_t scheme = url.find("://");
  const std::size_t host = scheme == std::string::npos ? 0 : scheme + 3;
  const std::string_view place_of_host =
      std::string_view(url).substr(host, url.find('/', host) - host);
  const std::size_t at = place_of_host.rfind('@');
  const bool secret = (at != std::string_view::npos &&
                       place_of_host.substr(0, at).find(':') != std::string_view::npos) ||
                      url.find("password=") != std::string::npos;
  HH_REQUIRE(!secret, "the URL holds a password, which others on this machine can read: "
                          << (place.engine == "postgres"
                                  ? "put it into ~/.pgpass or the file that PGPASSFILE names"
                                  : "put it into the environment, MILVUS_TOKEN=user:password"));
}

}  // namespace

std::unique_ptr<Collection> open_collection(const CollectionPlace& place,
                                            const std::function<bool()>& stopped) {
  HH_REQUIRE(place.engine == "postgres" || place.engine == "milvus",
             "engine '" << place.engine << "': use " << kEngines);
  check_name(place.collection);
  check_url(place);
  const std::string file = "libhh_" + place.engine + ".so";
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error(place.engine + " can't be used: " + dlerror() +
                             "; build with the libraries that scripts/install.sh engines installs");
  }
  void* const open = dlsym(library, kOpenCollection);
  void* const build = dlsym(library, kCollectionBuildIdentity);
  if (open == nullptr || build == nullptr ||
      reinterpret_cast<CollectionIdentity*>(build)() != kCollectionInterfaceIdentity) {
    throw std::runtime_error(file +
                             " is of another build than this program; build and copy the two "
                             "together");
  }
  return std::unique_ptr<Collection>(reinterpret_cast<OpenCollection*>(open)(place, stopped));
}

}  // namespace hh::retrieval
