// SPDX-License-Identifier: Apache-2.0
// The same in C++: consumer FOLDER
#include <hybridhash/hybridhash.hpp>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::uint8_t bytes[] = {0x00, 0x00, 0x01, 0x00, 0xff, 0x0f};
  hh_codes_data data = HH_CODES_DATA_INIT;
  data.bits = 12;
  data.count = 3;
  data.codes = bytes;
  auto index = hybridhash::Index::build(argv[1], hybridhash::Codes(data));
  const auto hits = index.search(std::span(bytes).subspan(2, 2), 3);
  for (const std::int64_t id : hits.ids(0)) std::cout << id << ' ';
  std::cout << index.remove(std::vector<std::int64_t>{1}) << ' ' << index.count() << '\n';
  try {
    hybridhash::Model("/no/such/model");
  } catch (const hybridhash::Error& error) {
    return error.status() == HH_BAD_FILE ? 0 : 1;
  }
  return 1;
}
