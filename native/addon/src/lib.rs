//! The engine as a Node addon: plain data in, plain data out, a handful of batched calls. No packet passes through here.

// Node makes the arguments of exported functions for the call, and has one sort of number.
#![allow(clippy::needless_pass_by_value, clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod convert;
mod engine;
mod switch;

/// Counts up whenever commands, events or calls change; `CONTRACT` in src/engine/native.ts.
const CONTRACT: u32 = 1;

#[napi_derive::napi]
pub fn contract_version() -> u32 {
    CONTRACT
}
