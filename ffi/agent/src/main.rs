#![forbid(unsafe_code)]
//! `siplens-agent`: sends what a proxy's module captured, apart from the proxy.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent::daemon::{Parting, attach};
use boundary::Termination;
use capture::{Event, Level};

const DEFAULT_SOCKET: &str = "/run/kamailio/siplens-agent.sock";

const HELP: &str = "\
siplens-agent: sends the SIP messages that siplens.so captured in a proxy, in a process apart from the proxy.

    siplens-agent [--socket PATH]

  --socket PATH   where the proxy listens: its module parameter agent_socket
                  (default /run/kamailio/siplens-agent.sock)
  --version       prints the version
  --help          prints this

It waits for the proxy, sends until it is told to end (SIGTERM, SIGINT), and attaches anew when the proxy was restarted.
Collectors, TLS and limits are those of the proxy's configuration. Its log goes to standard error.
";

enum Call {
    Run(PathBuf),
    Print(String),
}

fn main() -> ExitCode {
    let socket = match read(std::env::args_os().skip(1)) {
        Ok(Call::Run(socket)) => socket,
        Ok(Call::Print(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("siplens-agent: {error}; siplens-agent --help");
            return ExitCode::FAILURE;
        }
    };
    boundary::catch_quietly();
    // Before any other thread, so that none is ended by a signal.
    let termination = Termination::hold();
    let ending = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ending);
    let watch = move || {
        termination.wait();
        told.store(true, Ordering::Relaxed);
    };
    if let Err(error) = std::thread::Builder::new().name("siplens signals".to_owned()).spawn(watch) {
        eprintln!("siplens-agent: {error}");
        return ExitCode::FAILURE;
    }
    match attach(&socket, &ending, &mut say) {
        Parting::Asked => ExitCode::SUCCESS,
        // A fresh image of this program in the same process: the old queues' memory is given back by that.
        Parting::ProxyGone => {
            eprintln!("siplens-agent: cannot begin anew: {}", begin_anew(&socket));
            ExitCode::FAILURE
        }
    }
}

/// Runs the program that is installed now, which may be newer than this one; without a whole path, this one again.
fn begin_anew(socket: &Path) -> std::io::Error {
    let called = std::env::args_os().next().unwrap_or_default();
    let installed = Path::new(&called).is_absolute() && Path::new(&called).exists();
    let program = if installed { called.as_os_str() } else { OsStr::new("/proc/self/exe") };
    Command::new(program).arg0(&called).arg("--socket").arg(socket).exec()
}

fn read(arguments: impl Iterator<Item = OsString>) -> Result<Call, String> {
    let mut arguments = arguments;
    let mut socket = PathBuf::from(DEFAULT_SOCKET);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--socket") => socket = arguments.next().ok_or("--socket wants a path")?.into(),
            Some("--help" | "-h") => return Ok(Call::Print(HELP.to_owned())),
            Some("--version") => {
                return Ok(Call::Print(format!("siplens-agent {}\n", env!("CARGO_PKG_VERSION"))));
            }
            _ => return Err(format!("unknown argument {}", argument.display())),
        }
    }
    Ok(Call::Run(socket))
}

#[expect(clippy::print_stdout, reason = "it was asked for")]
fn print(text: &str) {
    print!("{text}");
}

/// A line on standard error; for systemd's journal with the level in front that it understands.
fn say(event: Event) {
    let level = match event.level {
        _ if std::env::var_os("JOURNAL_STREAM").is_none() => "",
        Level::Notice => "<5>",
        Level::Warning => "<4>",
    };
    eprintln!("{level}siplens-agent: {}", event.text);
}
