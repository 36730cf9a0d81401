#![forbid(unsafe_code)]
//! `siplens`: see `siplens --help`.

use std::process::ExitCode;

use clap::Parser;
use siplens_backend::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("siplens: {error:#}");
            ExitCode::FAILURE
        }
    }
}
