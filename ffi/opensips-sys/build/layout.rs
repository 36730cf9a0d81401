//! Compares the table with the target's headers, by the C compiler.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::rows::Row;
use crate::target::{Target, dotted};

/// Set in every build for Linux and shown in no string; without them some headers do not compile.
const NEVER_SHOWN: &[(&str, &str)] = &[
    ("__OS_linux", ""),
    ("OS", "\"linux\""),
    ("NAME", "\"opensips\""),
    ("VERSIONTYPE", "\"git\""),
    ("THISREVISION", "\"0\""),
    ("ADAPTIVE_WAIT_LOOPS", "1024"),
    ("CC_GCC_LIKE_ASM", ""),
    ("HAVE_STDATOMIC", ""),
    ("HAVE_GENERICS", ""),
    ("HAVE_EPOLL", ""),
    ("HAVE_SCHED_YIELD", ""),
    ("HAVE_MSG_NOSIGNAL", ""),
    ("HAVE_RESOLV_RES", ""),
];

/// Fails with the compiler's words if the headers say anything else than the table.
pub fn check(source: &Path, row: &Row, target: &Target) -> Result<()> {
    ensure!(source.join("sr_module.h").is_file(), "OPENSIPS_SRC={} holds no sr_module.h", source.display());
    let makefile = fs::read_to_string(source.join("Makefile.defs"))
        .with_context(|| format!("reading {}", source.join("Makefile.defs").display()))?;
    let part = |name: &str| {
        makefile.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim().trim_end_matches(['?', ':', ' ']) == name).then(|| value.trim().to_owned())
        })
    };
    let numbers: Vec<String> =
        ["VERSION_MAJOR", "VERSION_MINOR", "VERSION_SUBMINOR"].into_iter().filter_map(part).collect();
    ensure!(
        numbers.join(".") == dotted(target.version),
        "OPENSIPS_SRC={} is the source of {}, the target is {}",
        source.display(),
        numbers.join("."),
        dotted(target.version)
    );

    let template = fs::read_to_string("checks/layout.c.in").context("reading checks/layout.c.in")?;
    let text = [
        ("@MSG_RCV@", row.msg_rcv),
        ("@MSG_BUF@", row.msg_buf),
        ("@MSG_SIZE@", row.msg_size),
        ("@SOCKET_ADDRESS@", row.socket_address),
        ("@SOCKET_PORT@", row.socket_port),
        ("@SOCKET_ADVERTISED@", row.socket_advertised),
        ("@SOCKET_REAL_PORTS@", row.socket_real_ports),
        ("@BEHIND_POINTER@", usize::from(row.real_ports_behind_pointer)),
        ("@PROTO_SIZE@", row.proto_size),
        ("@PROTO_SEND@", row.proto_send),
        ("@LAST_SIP_PROTO@", row.last_sip_proto),
        ("@SEND_GETS_MESSAGE@", usize::from(row.send_gets_message)),
        ("@MI_PARAMS@", row.mi_params),
        ("@MI_ALIASES@", row.mi_aliases),
    ]
    .into_iter()
    .fold(template, |text, (name, value)| text.replace(name, &value.to_string()));
    let file = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?).join("layout.c");
    fs::write(&file, text)?;

    let mut build = cc::Build::new();
    build.file(&file).include(source).warnings(false).cargo_metadata(false);
    build.define("VERSION", format!("\"{}\"", dotted(target.version)).as_str());
    build.define("ARCH", format!("\"{}\"", target.arch).as_str());
    build.define(&format!("__CPU_{}", target.arch), None);
    for (name, value) in NEVER_SHOWN {
        build.define(name, Some(*value).filter(|value| !value.is_empty()));
    }
    for flag in target.flags.split(", ") {
        match flag {
            "STATS: On" => drop(build.define("STATISTICS", None)),
            "FAST_LOCK-ADAPTIVE_WAIT" => drop(build.define("FAST_LOCK", None).define("ADAPTIVE_WAIT", None)),
            _ if flag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                build.define(flag, None);
            }
            _ => {}
        }
    }
    build.try_compile("siplens_opensips_layout").with_context(|| {
        format!("the table for {} does not agree with {}", dotted(target.version), source.display())
    })
}
