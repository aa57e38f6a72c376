// SPDX-License-Identifier: Apache-2.0
// A stack of their own for signal handlers. oneDNN's compiled products keep data below the stack
// pointer, past what the ABI leaves to them: a handler that runs on a computing thread's own stack
// overwrites it, which ends in wrong numbers or a corrupt heap.
#pragma once

namespace hh {

/// From now on handlers installed with SA_ONSTACK that interrupt the calling thread run on a stack
/// of their own, until the thread ends. A stack that the thread has already is left as it is.
void use_signal_stack();

}  // namespace hh
