#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing and nothing else. Usage: scripts/install.sh [use|run|engines|test|checks|packages]
#   use       the libraries that a program built on Debian 12 needs, no compiler
#   run       what the program needs to be built, and the images of the quickstart
#   engines   that and the client libraries of --engine
#   test      what run needs, and what the tests need
#   packages  what run needs, and what makes and tries packages
#   checks    that and what the checks of the sources need: clang, its formatter and linter, valgrind, doxygen;
#             and Slurm, for the tests of scripts/cluster
set -euo pipefail

packages=(g++ cmake ninja-build ccache ca-certificates
  libhwy-dev libdnnl-dev libjpeg-dev libpng-dev libwebp-dev libgif-dev libtiff-dev libheif-dev libstb-dev zlib1g-dev libsqlite3-dev libcpp-httplib-dev libssl-dev
  libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libonnx-dev libprotobuf-dev
  dataset-fashion-mnist)
case "${1:-run}" in
  use)
    packages=(ca-certificates libcpp-httplib0.11 libdnnl2 libfmt9 libgif7 libgomp1 libheif1 libhwy1 libjpeg62-turbo
      libonnx1 libpng16-16 libprotobuf32 libspdlog1.10 libsqlite3-0 libssl3 libtiff6 libwebp7 libwebpdemux2 zlib1g) ;;
  run) ;;
  engines) packages+=(libgrpc++-dev libpq-dev pkg-config protobuf-compiler-grpc) ;;
  test) packages+=(abigail-tools catch2 libopenmpi-dev libpq-dev openmpi-bin pkg-config postgresql) ;;
  packages) packages+=(debootstrap dpkg-dev lintian patchelf pkg-config) ;;
  checks) packages+=(abigail-tools catch2 libgrpc++-dev libopenmpi-dev libpq-dev openmpi-bin pkg-config postgresql protobuf-compiler-grpc clang libclang-rt-dev clang-format clang-tidy doxygen valgrind
    munge slurm-client slurmctld slurmd) ;;
  *) echo "scripts/install.sh: use, run, engines, test, checks or packages, not '$1'" >&2; exit 2 ;;
esac

# With nvcc, headers of cuDNN's C++ interface for the benchmarks' peers; not in Debian. Without them the peers
# aren't built.
frontend=$(cd "$(dirname "$0")/.." && pwd)/build/cudnn_frontend
if [[ ${1:-run} == @(test|checks) ]] && command -v nvcc >/dev/null && [ ! -d "$frontend" ]; then
  why=$({ mkdir -p "${frontend%/*}" &&
    python3 -m pip install --quiet --no-deps --target "$frontend" nvidia-cudnn-frontend==1.32.0; } 2>&1) || {
    rm -rf "$frontend"
    echo "hh_bench --peers is left out, since nvidia-cudnn-frontend could not be installed: $(tail -n 1 <<<"$why")"
  }
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "These packages are missing: ${missing[*]}" >&2
  echo "Install them as root and run this again:" >&2
  echo "  sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing: ${missing[*]}"
# apt's own output only matters when it fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get could not install the packages above" >&2
  exit 1
fi
