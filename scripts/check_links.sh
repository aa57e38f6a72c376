#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Links between the documents: prints each relative link of a *.md whose file or heading isn't there, and each page of
# docs/ that no other page links to or that docs/site/index.rst, where there is one, doesn't list. Addresses with a scheme
# (https:) aren't looked at.
#   check_links.sh [FOLDER]    the repository, or another folder
set -uo pipefail
cd "${1:-$(dirname "$0")/..}" || exit

mapfile -t pages < <(find . \( -name .git -o -name 'build*' -o -name runs -o -name '.venv*' \) -prune -o -name '*.md' -print |
  sed 's#^\./##' | sort)
[ ${#pages[@]} -gt 0 ] || { echo "no *.md in $PWD"; exit 1; }

# "heading FILE ANCHOR" and "link FILE LINE TARGET" of every page. Code isn't looked into; anchors are made as GitHub
# makes them: small letters, nothing but letters, digits, - and _, blanks become -, the second of a name is NAME-1.
found=$(awk '
  FNR == 1 { fenced = 0 }
  /^ *(```|~~~)/ { fenced = !fenced; next }
  fenced { next }
  /^    / && blank { next }  # an indented block of code: its first line follows an empty one, or code
  { blank = /^ *$/; text = $0 }
  /^#+ / {
    anchor = tolower($0)
    sub(/^#+ +/, "", anchor)
    anchor = text_of(anchor)
    gsub(/[^a-z0-9 _\200-\377-]/, "", anchor)
    gsub(/ /, "-", anchor)
    times = seen[FILENAME, anchor]++
    print "heading", FILENAME, times ? anchor "-" times : anchor
  }
  {
    gsub(/`[^`]*`/, "", text)
    while (match(text, /\]\([^() ]+\)/)) {
      print "link", FILENAME, FNR, substr(text, RSTART + 2, RLENGTH - 3)
      text = substr(text, RSTART + RLENGTH)
    }
  }
  # A heading may hold links and code: what is shown of them.
  function text_of(s) { gsub(/\]\([^()]*\)/, "", s); return s }
' "${pages[@]}")

declare -A anchors linked
while read -r kind page rest; do
  [ "$kind" = heading ] && anchors["$page#$rest"]=1
done <<<"$found"

bad=0
while read -r kind page line target; do
  [ "$kind" = link ] || continue
  [[ $target =~ ^[a-z+]+: ]] && continue
  file=${target%%#*}
  path=$page
  [ -z "$file" ] || path=$(realpath -m --relative-to=. "$(dirname "$page")/$file")
  if [ ! -e "$path" ]; then
    echo "$page:$line: $target: there is no $path"
    bad=1
    continue
  fi
  [ "$path" = "$page" ] || linked[$path]=1
  if [[ $target == *'#'* ]] && [ -z "${anchors["$path#${target#*#}"]:-}" ]; then
    echo "$page:$line: $target: $path has no such heading"
    bad=1
  fi
done <<<"$found"

for page in "${pages[@]}"; do
  [[ $page == docs/* ]] && [ -z "${linked[$page]:-}" ] && echo "$page: no page links to it" && bad=1
  [[ $page == docs/* ]] && [ -e docs/site/index.rst ] && ! grep -qx " *${page%.md}" docs/site/index.rst &&
    echo "$page: docs/site/index.rst doesn't list it" && bad=1
done
exit $bad
