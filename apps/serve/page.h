// SPDX-License-Identifier: Apache-2.0
// The page of the server, from apps/serve/web: CMake makes its text part of the program.
#pragma once

namespace hh::apps {
extern const char* const kPageHtml;
extern const char* const kPageCss;
extern const char* const kPageJs;
}  // namespace hh::apps
