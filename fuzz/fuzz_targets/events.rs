//! The format `events`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::accounting::read_as("events", bytes));
