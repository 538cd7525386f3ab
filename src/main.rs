//! The program: arguments in, exit code out.

use std::process::ExitCode;

// The system allocators contend when batches are allocated on one worker and freed on another;
// musl's does so badly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spanloom::cli::main()
}
