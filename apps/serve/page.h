// SPDX-License-Identifier: Apache-2.0
// The page of the server and the description of its API, from apps/serve/web: CMake makes their texts part
// of the program.
#pragma once

namespace hh::apps {
extern const char* const kPageHtml;
extern const char* const kPageCss;
extern const char* const kPageJs;
extern const char* const kOpenApi;
}  // namespace hh::apps
