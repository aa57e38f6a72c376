#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/check_links.sh, on links that it must and must not find broken.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/docs/deep"
printf '# A page\n\n## What is `this`, here?\n\n## Twice\n\n## Twice\n' >"$folder/docs/page.md"
bad=0

# expect STATUS TEXT: the check of a tree with a README of this text beside docs/page.md.
expect() {
  printf '%b' "$2" >"$folder/README.md"
  local out status
  out=$(scripts/check_links.sh "$folder")
  status=$?
  [ $status -eq "$1" ] || { echo "$2: exit status $status, not $1: $out"; bad=1; }
}

page='[page](docs/page.md)'
expect 0 "$page"
expect 0 "# Top\n$page [here](#top)"
expect 0 "$page [a](docs/page.md#what-is-this-here) [b](docs/page.md#twice-1)"
expect 0 "$page [a folder](docs/deep), [elsewhere](https://example.org/none.md)"
expect 0 "$page \`[code](none.md)\`\n\n    [code](none.md)\n\n\`\`\`\n[code](none.md)\n\`\`\`\n"
expect 1 "$page [gone](docs/gone.md)"
expect 1 "$page, a line\n    [goes on](none.md) with a deep indent"
expect 1 "$page ![picture](docs/gone.png)"
expect 1 "$page [no heading](docs/page.md#nothing)"
expect 1 "$page [no third](docs/page.md#twice-2)"
expect 1 "# Top\n$page [no heading here](#bottom)"
expect 1 "nothing links to the page"
echo '[back](../page.md)' >"$folder/docs/deep/other.md"
expect 1 "$page"
expect 0 "$page [other](docs/deep/other.md)"
mkdir "$folder/docs/site"
printf '   docs/page\n   docs/deep/other-one\n' >"$folder/docs/site/index.rst"
expect 1 "$page [other](docs/deep/other.md)"
echo '   docs/deep/other' >>"$folder/docs/site/index.rst"
expect 0 "$page [other](docs/deep/other.md)"
exit $bad
