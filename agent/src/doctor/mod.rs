// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this kernel, these privileges and this machine allow.
