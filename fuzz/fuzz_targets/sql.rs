//! SQL, and what only looks like it.
#![no_main]

libfuzzer_sys::fuzz_target!(|sql: &str| harness::statements::read_everyhow(sql));
