//! The binary.

use std::process::ExitCode;

/// Many small, short-lived buffers on few pinned threads: the case that mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ottla::cli::main(ottla::serve::main)
}
