//! The program `antiphon`: everything it does is in the library, so that tests can reach it.

use std::process::ExitCode;

/// Thirty pieces of answers that live for one turn are more than glibc keeps at hand for a thread; see
/// `docs/decisions/0007-allocator.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    antiphon_server::cli::main()
}
