// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/model_hash.h"

#include "engine/text/counted.h"
#include "kernels/core/check.h"

namespace hh::retrieval {

void check_codes_meet(const CodeKind& codes, const CodeKind& held, const char* what,
                      Int8Codes int8) {
  HH_REQUIRE(codes.bits == held.bits, "codes of " << counted(codes.bits, "bit") << " for an "
                                                  << what << " of " << counted(held.bits, "bit")
                                                  << "; encode both with the same model");
  HH_REQUIRE(same_model(codes.model_hash, held.model_hash, int8),
             "codes of the model " << codes.model_hash << " for an " << what << " of the model "
                                   << held.model_hash << "; "
                                   << how_to_meet(codes.model_hash, held.model_hash));
}

}  // namespace hh::retrieval
