//! The fuzz targets as a library, and the glue between one of them and libFuzzer.

pub mod targets;

pub use libfuzzer_sys;

/// The whole of a fuzzing binary: hands libFuzzer's bytes to the target named.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            ($crate::targets::target($name).run)(bytes)
        });
    };
}
