#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The documents against the program and the tree: check_commands.sh PROGRAM. Prints each `hybridhash` command in a *.md, a
# recipe or a script at the root that has a subcommand or an option that the program doesn't know, and each path that
# begins with a folder of the tree and isn't there.
set -uo pipefail
program=$(realpath "$1")
cd "${2:-$(dirname "$0")/..}" || exit
bad=0
wrong() {
  echo "$*"
  bad=1
}

mapfile -t pages < <(find . \( -name .git -o -name 'build*' -o -name runs -o -name '.venv*' \) -prune -o -name '*.md' -print; ls ./recipes/*.toml ./*.sh 2>/dev/null)

declare -A helps
subcommands() { sed -n '/^Subcommands:/,/^[A-Z].*:$/s/^  \([a-z]*\) .*/\1/p' <<<"$1"; }
# "FILE:LINE:COMMAND" of each command, lines that end in \ joined; a command ends at a quote, a comment or a pipe.
while IFS=: read -r file line command; do
  read -ra words <<<"$command"
  path=()
  for word in "${words[@]%%=*}"; do
    key="hybridhash ${path[*]}"
    [ -n "${helps[$key]:-}" ] || helps[$key]=$("$program" "${path[@]}" --help)
    known=$(subcommands "${helps[$key]}")
    if [ -n "$known" ] && [[ $word =~ ^[a-z]+$ ]]; then
      # A sentence goes on after the program's name: not a command.
      grep -qx "$word" <<<"$known" || { [ ${#path[@]} -gt 0 ] && wrong "$file:$line: $key has no $word"; break; }
      path+=("$word")
    elif [[ $word =~ ^--[a-z][a-z-]*$ ]] && [ ${#path[@]} -gt 0 ]; then
      grep -qE -- "(^|[ ,])$word([ ,]|\$)" <<<"${helps[$key]}" || wrong "$file:$line: $key has no $word"
    fi
  done
done < <(awk '
  FNR == 1 { joined = "" }
  /\\$/ { joined = joined substr($0, 1, length - 1); next }
  {
    text = joined $0
    joined = ""
    while (match(text, /(^|[^A-Za-z0-9_\/.-])hybridhash [a-z-]/)) {
      text = substr(text, RSTART + RLENGTH - 1)
      command = text
      sub(/[`#|;&<>()'\''].*/, "", command)
      print FILENAME ":" FNR ":" command
    }
  }' "${pages[@]}")

while IFS=: read -r file line path; do
  # FAMILY, STEM, NAME stand for others; what begins at the page itself is a link, for check_links.sh.
  [[ $path =~ [A-Z]{2} ]] || [ -e "$path" ] || [ -e "$(dirname "$file")/$path" ] || wrong "$file:$line: there is no $path"
done < <(grep -noE '(^|[^A-Za-z0-9_/.*<>-])(kernels|engine|model|data|retrieval|pipeline|apps|scripts|bench|tests|recipes|docs|cmake)/[A-Za-z0-9_./*{}-]*' "${pages[@]}" |
  grep -v '[*{]' | sed -E 's#:[^A-Za-z:]([a-z]+/)#:\1#; s#[.,]+$##')
exit $bad
