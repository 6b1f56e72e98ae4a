#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procpool::fuzz::records(bytes));
