// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HTTP/1.0 and HTTP/1.1, both directions of one connection.
