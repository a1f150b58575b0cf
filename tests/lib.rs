// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the replay, kernel and end-to-end tests share: starting Onlooker, reading its spans and its ledger.
