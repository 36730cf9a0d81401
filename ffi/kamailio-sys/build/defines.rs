//! The defines with which the installed Kamailio was compiled, derived from its module strings.

use anyhow::{Context, Result, ensure};

use crate::elf::ModuleStrings;

/// Names and values for the compiler.
pub struct Defines {
    /// `5.6.3`
    pub version: String,
    /// In the order given; `None` is a define without a value.
    pub list: Vec<(String, Option<String>)>,
}

/// Set in every Debian build and shown in no string. None of them changes a struct that is read here; without them
/// some headers do not compile.
const NEVER_SHOWN: &[&str] = &[
    "STATISTICS",
    "USE_CORE_STATS",
    "MALLOC_STATS",
    "WITH_XAVP",
    "CC_GCC_LIKE_ASM",
    "HAVE_GETHOSTBYNAME2",
    "HAVE_SCHED_YIELD",
    "HAVE_ALLOCA_H",
    "HAVE_MSG_NOSIGNAL",
    "HAVE_TIMEGM",
    "HAVE_UNION_SEMUN",
    "HAVE_MSGHDR_MSG_CONTROL",
    "HAVE_IP_MREQN",
    "HAVE_SCHED_SETSCHEDULER",
    "HAVE_EPOLL",
    "HAVE_SIGIO_RT",
    "HAVE_SELECT",
];

impl Defines {
    /// Takes apart `kamailio 5.6.3 (x86_64/linux)` and `USE_TCP, USE_TLS, …`.
    pub fn of(strings: &ModuleStrings) -> Result<Self> {
        let wrong = || format!("module_version \"{}\": expected \"name version (arch/os)\"", strings.version);
        let (name, rest) = strings.version.split_once(' ').with_context(wrong)?;
        let (version, platform) = rest.split_once(" (").with_context(wrong)?;
        let (arch, os) =
            platform.strip_suffix(')').and_then(|both| both.split_once('/')).with_context(wrong)?;

        let quoted = |text: &str| Some(format!("\"{text}\""));
        let mut list = vec![
            ("NAME".to_owned(), quoted(name)),
            ("VERSION".to_owned(), quoted(version)),
            ("ARCH".to_owned(), quoted(arch)),
            ("OS_QUOTED".to_owned(), quoted(os)),
            ("OS".to_owned(), Some(format!("{}_", os.to_lowercase()))),
            ("VERSIONVAL".to_owned(), Some(version_number(version)?.to_string())),
            (format!("__CPU_{arch}"), None),
            (format!("__OS_{}", os.to_lowercase()), None),
        ];
        for flag in strings.flags.split(", ") {
            match flag {
                "FAST_LOCK-ADAPTIVE_WAIT" => {
                    list.push(("FAST_LOCK".to_owned(), None));
                    list.push(("ADAPTIVE_WAIT".to_owned(), None));
                    list.push(("ADAPTIVE_WAIT_LOOPS".to_owned(), Some("1024".to_owned())));
                }
                "TLS_PTHREAD_MUTEX_SHARED" => list.push(("KSR_PTHREAD_MUTEX_SHARED".to_owned(), None)),
                _ => {
                    let plain = flag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    ensure!(plain && !flag.is_empty(), "module_flags: no define is known for \"{flag}\"");
                    list.push((flag.to_owned(), None));
                }
            }
        }
        list.extend(NEVER_SHOWN.iter().map(|&name| (name.to_owned(), None)));
        Ok(Self { version: version.to_owned(), list })
    }
}

/// `5.6.3` is 5006003, as Kamailio's makefile computes it.
fn version_number(version: &str) -> Result<u32> {
    let numbers = version.split(['-', '~']).next().unwrap_or(version);
    let mut value = 0;
    for part in numbers.split('.') {
        let part: u32 = part.parse().with_context(|| format!("version \"{version}\""))?;
        value = value * 1000 + part;
    }
    Ok(value)
}
