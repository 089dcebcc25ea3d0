//! The format `wal2json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::accounting::read_as("wal2json", bytes));
