#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/check_function_length.py, on functions that it must and must not find.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bad=0

# expect FOUND HEAD [LINE]: of a function of 4 lines, HEAD and LINE (or "f();") and two more, FOUND ("yes" or "no") says
# whether a limit of 3 finds it; and a limit of 4 doesn't.
expect() {
  printf '#include <x>\nnamespace hh {\nint v = 1;\n\n// a { comment\n%s\n  %s\n  g();\n}\n\n}  // namespace hh\n' "$2" "${3:-f();}" \
    >"$folder/a.cu"
  echo 'void h() {}' >"$folder/b.h"
  local found=no
  python3 scripts/check_function_length.py "$folder" --limit 3 >"$folder/said" || found=yes
  [ $found = "$1" ] || { echo "$2: found: $found, not $1"; bad=1; }
  [ $found = no ] || grep -q 'a.cu:6: .* has 4 lines, at most 3' "$folder/said" || { echo "$2: $(cat "$folder/said")"; bad=1; }
  python3 scripts/check_function_length.py "$folder" --limit 4 >/dev/null || { echo "$2: found with a limit of 4"; bad=1; }
}

expect yes 'int f(int x) {'
expect yes 'template <class T> HWY_INLINE auto f(T x) const noexcept -> int {'
expect yes '__global__ void __launch_bounds__(128) f(Args<float, 3> p) {'
expect yes 'A::A(int x) : a_{x}, b_(x) {'
expect yes 'TEST_CASE("a { brace", "[x]") {'
expect yes 'void f() {' "const char* s = \"}\"; char c = '}'; if (s) { f(); }"
expect yes 'void f() {' 'const auto inner = [&](int x) { return x; };'
expect no 'struct A {' 'int x;'
expect no 'struct A : B {' 'void f() { g(); }'
expect no 'enum class A {' 'a, b, c,'
expect no 'namespace deep {' 'void f() { g(); }'
python3 scripts/check_function_length.py "$folder/none" >/dev/null 2>&1 && { echo "a folder without functions passes"; bad=1; }
exit $bad
