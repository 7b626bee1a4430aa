//! Whatever a client sends is decoded or refused: no panic, no hang, no memory without bounds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| auric_server::pgwire::fuzz::decode(data));
