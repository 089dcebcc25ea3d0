//! SQL that repeats itself: a beginning, a middle and an end, one to a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (middle, beginning, end) = (part(), part(), part());
    harness::statements::grow(beginning, middle, end);
});
