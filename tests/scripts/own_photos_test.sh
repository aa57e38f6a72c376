#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Follows docs/own-photos.md word by word on made-up photos: own_photos_test.sh PROGRAM. The commands are the page's
# indented lines from "## 3. Check them" on, and its link to the photos; training is shortened, and the server takes a free port.
set -uo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
page=$PWD/docs/own-photos.md
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
mkdir "$folder/bin"
ln -s "$program" "$folder/bin/hybridhash"
[ ! -e "$(dirname "$program")/libhh_cuda.so" ] || ln -s "$(dirname "$program")/libhh_cuda.so" "$folder/bin/"
export PATH=$folder/bin:$PATH HOME=$folder
cp -r recipes "$folder"
cd "$folder" || exit

# photo FILE RED GREEN BLUE: 64 x 64 pixels of about that colour. Binary PPM; no byte is 0, which not every awk prints.
photo() {
  mkdir -p "$(dirname "$1")"
  LC_ALL=C awk -v seed=$((++made)) -v red="$2" -v green="$3" -v blue="$4" '
    function byte(x) { return x < 1 ? 1 : x > 255 ? 255 : int(x) }
    BEGIN {
      srand(seed)
      printf "P6\n64 64\n255\n"
      for (i = 0; i < 4096; i++) { noise = rand() * 80 - 40; printf "%c%c%c", byte(red + noise), byte(green + noise), byte(blue + noise) }
    }' >"$1"
}
made=0
for ((i = 0; i < 40; i++)); do
  photo "Pictures/sorted/at the sea/$i.ppm" 40 90 200
  photo "Pictures/sorted/forest/deep/$i.ppm" 40 140 50
  photo "Pictures/sorted/sunset/$i.ppm" 220 110 40
done
photo Pictures/one.jpg 45 135 60  # a forest; what a picture is, its bytes say

address=
start_server() {
  bash -c "exec $1 --port 0" >serve.txt &
  server=$!
  for ((i = 0; i < 300; i++)); do
    address=$(grep -o 'http://[^ /]*' serve.txt) && return
    kill -0 "$server" || return
    sleep 0.1
  done
  return 1
}
# answers TARGET PATTERN: what the server says to GET TARGET. By bash, since curl may not be there.
answers() {
  local host=${address#http://}
  exec 3<>"/dev/tcp/${host%:*}/${host##*:}" || return
  printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "$host" >&3
  tr -d '\0' <&3 >answer.txt
  exec 3>&-
  head -c 500 answer.txt
  grep -q "$2" answer.txt
}
stop_server() {
  kill "$server"
  wait "$server"
  local status=$?
  server=
  return $status
}
# A network that learned nothing has a third, three classes being as large.
found_well() { awk '/"stable"/ { found = $2 + 0 } END { print "mAP", found; exit !(found > 0.6) }' runs/photos/eval/eval.json; }

mapfile -t commands < <(awk '/^## 3/ { on = 1 } /^    / && (on || /ln -s/) { print substr($0, 5) }' "$page")
for command in "${commands[@]}"; do
  case $command in
    "hybridhash train "*) count "$command" bash -c "$command --set train.epochs=6" ;;
    "hybridhash serve "*)
      count "$command" start_server "$command"
      count "the page" answers / '<title>HybridHash'
      count "a search" answers '/api/search?id=50&k=5' '"name":"forest/deep/'
      count "a picture of an item" answers /api/items/50/image '200 OK' ;;
    curl*)
      if command -v curl >/dev/null; then
        count "$command" bash -o pipefail -c "${command/http:\/\/127.0.0.1:8080/$address} -sf | grep forest/deep"
      else
        echo "skipped: $command, since curl is not installed"
      fi ;;
    *) count "$command" bash -c "$command" ;;
  esac
done
count "the server ends when told" stop_server
count "a report" test -s runs/photos/eval/report.html
count "what is found is of the class" found_well
count "the gallery shows the class" grep -q forest/deep found.html
finish
