#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All documents and the references of C, C++ and Python as one static site: scripts/site.sh [FOLDER], build/site if none is
# named. Warnings are errors, and every link inside the site is followed. Needs doxygen, and PyPI the first time
# (build/site-venv); the Python package is built for its docstrings.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/site}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"  # run by root, linkchecker becomes nobody
command -v doxygen >/dev/null || { echo "doxygen is missing: apt-get install doxygen" >&2; exit 1; }

venv=build/site-venv
[ -x $venv/bin/sphinx-build ] || python3 -m venv $venv
$venv/bin/pip install -q -r docs/site/requirements.txt
CXX=c++ $venv/bin/pip install -q --no-build-isolation --no-deps .

# The documents where they lie, with what they link to; the site's own pages beside them.
mkdir "$work/source"
git ls-files -z '*.md' docs LICENSE Dockerfile 'kernels/*.h' 'kernels/*.cuh' ':!docs/site' | xargs -0 cp --parents -t "$work/source"
cp -r docs/site/. "$work/source"
(cat docs/site/Doxyfile && echo "OUTPUT_DIRECTORY = $work") | doxygen -
HH_DOXYGEN_XML=$work/xml $venv/bin/sphinx-build -q -W --keep-going -j 2 -b html "$work/source" "$work/html"
# Everything that a page loads or links to, heads of sections too; other sites aren't asked.
$venv/bin/linkchecker --config docs/site/linkcheckerrc --no-status --ignore-url '^https?:' \
  "file://$work/html/index.html" >"$work/links" || { cat "$work/links" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$(dirname "$out")"
cp -r "$work/html" "$out"
echo "$out/index.html: $(find "$out" -name '*.html' | wc -l) pages; $(grep -oE "[0-9]+ links? in [0-9]+ URLs? checked" "$work/links")"
