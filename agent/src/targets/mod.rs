// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is watched: selectors in, watch states in the kernel's process map out.
