//! The one binary, `quorate`. Everything is in the library, so that the cross-process tests start
//! nodes with the same code as `quorate dev`.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate_cli::main()
}
