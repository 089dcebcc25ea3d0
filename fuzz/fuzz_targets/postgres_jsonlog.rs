//! The format `postgres-jsonlog`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::accounting::read_as("postgres-jsonlog", bytes));
