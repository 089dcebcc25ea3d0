//! The format `postgres-csvlog`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::accounting::read_as("postgres-csvlog", bytes));
