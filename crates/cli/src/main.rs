//! The one binary, `quorate`. Everything is in the library, so that the cross-process tests start
//! nodes with the same code as `quorate dev`.

use std::process::ExitCode;

/// A turn makes and drops thousands of small buffers: a tenth of its time with the usual allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quorate_cli::main()
}
