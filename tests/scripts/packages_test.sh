#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The packages: built, looked at by lintian, and tried in bare roots of Debian 12 and (the .tar.gz, which brings its libraries
# along) Debian 13, where nothing is installed but what debootstrap's smallest variant has. As root; debootstrap takes them from
# $HH_DEBIAN_MIRROR (http://deb.debian.org/debian), and $HH_ROOTS is where they are kept for the next time. The last line is
# "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
started=$SECONDS
if [ "$(id -u)" -ne 0 ]; then
  echo "skipped: the packages, since bare roots are made by root"
  passed=1
  finish
fi
tries=$(mktemp -d)
trap 'rm -rf "$tries"' EXIT
roots=${HH_ROOTS:-$tries/roots}
mkdir -p "$roots"
packages=build/package

build() {
  scripts/install.sh packages && scripts/build.sh package && (cd $packages && rm -f ./*.deb ./*.tar.gz && cpack)
}
count "packages" build

# Clean but for what the overrides name, with their reasons.
count "lintian" lintian --allow-root --fail-on error,warning --tag-display-limit 0 $packages/*.deb

# bare SUITE: a root of it in $roots/SUITE, made once.
bare() {
  [ -e "$roots/$1/bin/sh" ] ||
    debootstrap --variant=minbase "$1" "$roots/$1" "${HH_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
}
# fresh SUITE: a copy of it in $tries/SUITE.
fresh() {
  rm -rf "${tries:?}/$1" && cp -a "$roots/$1" "$tries/$1"
}
# inside SUITE COMMAND... With /proc, by which a program knows where it lies; it goes when the command has ended.
inside() {
  local root=$tries/$1
  shift
  # shellcheck disable=SC2016
  unshare --mount sh -c 'mount --bind /proc "$1/proc" && exec chroot "$@"' sh "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

# works SUITE PREFIX: the program gives the reference results, writes an ONNX file, names a mistake; a C program that was built
# against PREFIX's library runs.
works() {
  local suite=$1 prefix=$2 root=$tries/$1 library flags
  inside "$suite" "$prefix/bin/hybridhash" --version &&
    inside "$suite" "$prefix/bin/hybridhash" verify --device cpu "$prefix/share/hybridhash/goldens/micro_c.json" &&
    cp "$model" "$root/tmp/model.safetensors" &&
    inside "$suite" "$prefix/bin/hybridhash" export --model /tmp/model.safetensors --onnx /tmp/model.onnx &&
    [ -s "$root/tmp/model.onnx" ] || return
  library=$(cd "$root" && find "./$prefix/lib" -name libhybridhash.so.0)
  library=${library#.}
  flags=$(PKG_CONFIG_LIBDIR=$root$(dirname "$library")/pkgconfig pkg-config --cflags --libs hybridhash) || return
  # shellcheck disable=SC2086
  cc tests/api/consumers/main.c -o "$root/tmp/consumer" $flags -Wl,--unresolved-symbols=ignore-in-shared-libs \
    -Wl,-rpath,"$(dirname "$library")" && inside "$suite" /tmp/consumer /tmp/index
}

# A model to export: of one epoch on a few made-up pictures.
model=$tries/run/best.safetensors
train() {
  local class i
  for class in red blue; do
    mkdir -p "$tries/images/$class" || return
    for i in $(seq 20); do
      { printf 'P6 16 16 255\n'; head -c 768 /dev/zero | tr '\0' "\\$([ $class = red ] && echo 31$((i % 8)) || echo 05$((i % 8)))"; } >"$tries/images/$class/$i.ppm"
    done
  done
  $packages/bin/hybridhash train --out "$tries/run" --device cpu --set data.protocol=folder data.path="$tries/images" \
    data.query_per_class=4 train.epochs=1 train.batch=8 model.image_size=16 model.patch=2 "model.dims=[8,16,16]" \
    "model.heads=[1,2,2]" "model.depths=[1,1,1]" model.bits=16
}
count "a model" train

archive() {
  fresh "$1" && mkdir "$tries/$1/opt/there" && tar -xzf $packages/*.tar.gz -C "$tries/$1/opt/there" --strip-components=1 &&
    works "$1" /opt/there
}
# by_cmake WHICH PRINTS ARGUMENTS...: a program of others finds the installed development package.
by_cmake() {
  cmake -G Ninja -S tests/api/consumers -B "$tries/$1" -DWHICH="$1" -DCMAKE_PREFIX_PATH="$tries/bookworm/usr" \
    -DCMAKE_BUILD_TYPE=Release && grep "^hybridhash_DIR:PATH=$tries" "$tries/$1/CMakeCache.txt" && ninja -C "$tries/$1" &&
    [ "$("$tries/$1/consumer" "${@:3}")" = "$2" ]
}
debs() {
  fresh bookworm && cp $packages/*.deb "$tries/bookworm/tmp/" &&
    cp /etc/resolv.conf "$tries/bookworm/etc/resolv.conf" && inside bookworm apt-get -qq update &&
    inside bookworm sh -c 'DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends /tmp/*.deb' &&
    works bookworm /usr && by_cmake kernels "11 33" && by_cmake cpp "1 0 2 1 2" "$tries/index" && inside bookworm sh -c 'DEBIAN_FRONTEND=noninteractive apt-get -qq purge -y hybridhash libhybridhash0' &&
    [ -z "$(find "$tries/bookworm/usr" -name '*hybridhash*')" ]
}
for suite in bookworm trixie; do
  if bare $suite >"$tries/log" 2>&1; then
    count ".tar.gz in $suite" archive $suite
    [ $suite = trixie ] || count ".deb in $suite" debs
  else
    tail -n 3 "$tries/log"
    echo "skipped: packages in $suite, since a bare root of it can't be made"
  fi
done
# No symbol of a C library later than 2.36.
old_enough() {
  local newest
  mkdir "$tries/all" && tar -xzf $packages/*.tar.gz -C "$tries/all" &&
    newest=$(find "$tries/all" -type f \( -name '*.so*' -o -path '*/bin/*' \) -exec objdump -T {} + | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1) &&
    echo "$newest" && [ "$(printf '%s\n' "$newest" GLIBC_2.36 | sort -V | tail -n 1)" = GLIBC_2.36 ]
}
count "glibc 2.36" old_enough
echo "the packages: $((SECONDS - started)) s"
finish
