#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The server's API by a property-based client that knows it from /api/v1/openapi.json alone: openapi_client_test.sh PROGRAM.
# schemathesis makes requests that fit the description and some that don't; the answers must fit it, and none may be the
# server's own error. Skipped where PyPI can't be reached. The last line is "N passed, N failed".
set -uo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
if ! python3 -m venv "$folder/venv" || ! "$folder/venv/bin/pip" install -q schemathesis==4.32.5 >"$folder/log" 2>&1; then
  echo "skipped: the API by schemathesis, since an environment can't be made or PyPI can't be reached"
  passed=1
  finish
fi

python3 - "$folder/photos" <<'END'
import pathlib
import random
import sys

for c, name in enumerate(("blue", "green", "red")):
    place = pathlib.Path(sys.argv[1], name)
    place.mkdir(parents=True)
    for i in range(20):
        lit = [random.Random(60 * c + i + p).randrange(100) + (140 if p % 3 == 2 - c else 60) for p in range(3 * 1024)]
        (place / f"{i}.ppm").write_bytes(b"P6\n32 32\n255\n" + bytes(lit))
END
count "a model" "$program" train recipes/folder.toml --out "$folder/run" --set "data.path=$folder/photos" --set train.epochs=1 \
  --set evaluate.hold_out=6
count "an index" "$program" index sync "$folder/photos" --class-folders --index "$folder/index" --model "$folder/run/best.safetensors"
[ "$failed" -eq 0 ] || finish

"$program" serve --index "$folder/index" --model "$folder/run/best.safetensors" --image-root "$folder/photos" --port 0 >"$folder/serve.txt" &
server=$!
for ((i = 0; i < 300; i++)); do
  address=$(grep -o 'http://[^ /]*' "$folder/serve.txt") && break
  sleep 0.1
done
count "the API by schemathesis" "$folder/venv/bin/schemathesis" run "$address/api/v1/openapi.json" --max-examples 50 --seed 1 \
  --checks not_a_server_error,content_type_conformance,response_schema_conformance
count "the server still answers" bash -c "exec 3<>/dev/tcp/127.0.0.1/${address##*:}; printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3; grep -q ready <&3"
kill "$server"
wait "$server"
status=$?
server=
count "it ends when told" test $status -eq 0
finish
