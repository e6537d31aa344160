#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oncegate_fuzz::signature::run(data));
