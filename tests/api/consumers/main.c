/* SPDX-License-Identifier: Apache-2.0 */
/* A C program with an index: consumer FOLDER */
#include <hybridhash/hybridhash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(hh_status status) {
  if (status == HH_OK) return;
  fprintf(stderr, "%s: %s\n", hh_status_name(status), hh_last_error());
  exit(1);
}

int main(int argc, char** argv) {
  const uint8_t bytes[] = {0x00, 0x00, 0x01, 0x00, 0xff, 0x0f};
  hh_codes_data data = HH_CODES_DATA_INIT;
  hh_codes* codes = NULL;
  hh_index* index = NULL;
  hh_model* model = NULL;
  int64_t ids[3];
  int32_t distances[3];
  if (argc != 2) return 2;
  data.bits = 12;
  data.count = 3;
  data.codes = bytes;
  check(hh_codes_create(&data, &codes));
  check(hh_index_build(argv[1], codes, 0, 0));
  hh_codes_close(codes);
  check(hh_index_open(argv[1], &index));
  check(hh_index_nearest(index, bytes + 2, 1, 3, ids, distances));
  printf("%d %d %d: %d %d %d\n", (int)ids[0], (int)ids[1], (int)ids[2], distances[0], distances[1],
         distances[2]);
  hh_index_close(index);
  if (hh_model_open("/no/such/model", NULL, &model) != HH_BAD_FILE) return 1;
  if (strstr(hh_last_error(), "/no/such/model") == NULL) return 1;
  printf("%s\n", hh_version());
  return 0;
}
