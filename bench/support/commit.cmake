# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=... -D OUT=... -P commit.cmake: a source with the commit that is checked out, "+" behind it where files differ from it. Run with
# each build; the file changes only where that does.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
if(status EQUAL 0)
  execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes ERROR_QUIET)
  if(changes)
    string(APPEND commit "+")
  endif()
else()
  set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "namespace hh::bench {\nextern const char* const kCommit;\nconst char* const kCommit = \"@commit@\";\n}\n" @ONLY)
