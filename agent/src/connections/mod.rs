// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reassemble: kernel events in, pieces of byte streams out, per connection and direction.
