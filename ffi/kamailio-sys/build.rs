//! Finds Kamailio's headers and an installed module, and makes bindings, shim and strings that agree with both.
//!
//! - `KAMAILIO_SRC`: the folder with `core/sr_module.h`. Default: what `scripts/kamailio-headers` fetched.
//! - `KAMAILIO_ACCEPT_HEADERS`: a version whose headers are good enough for another one of its series.
//! - `KAMAILIO_MODULE`: an installed module. Default: `tm.so` in the distribution's folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

#[path = "build/defines.rs"]
mod defines;
#[path = "build/elf.rs"]
mod elf;

use defines::Defines;
use elf::ModuleStrings;

fn main() -> Result<()> {
    for variable in ["KAMAILIO_SRC", "KAMAILIO_MODULE", "KAMAILIO_ACCEPT_HEADERS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for file in ["wrapper.h", "shim.h", "shim.c", "build"] {
        println!("cargo::rerun-if-changed={file}");
    }

    let module = installed_module()?;
    println!("cargo::rerun-if-changed={}", module.display());
    let strings = elf::module_strings(&module)?;
    let defines = Defines::of(&strings)?;
    let headers = header_folder(&defines.version)?;
    same_version(&headers, &defines.version)?;

    compile_shim(&headers, &defines, &strings)?;
    bind(&headers, &defines, &strings)?;
    println!("cargo::metadata=version={}", defines.version);
    Ok(())
}

/// The module whose strings ours must equal: the core refuses to load anything else.
fn installed_module() -> Result<PathBuf> {
    if let Some(path) = env::var_os("KAMAILIO_MODULE") {
        return Ok(path.into());
    }
    let mut folders: Vec<PathBuf> =
        vec!["/usr/lib64/kamailio/modules".into(), "/usr/lib/kamailio/modules".into()];
    if let Ok(entries) = fs::read_dir("/usr/lib") {
        folders.extend(entries.flatten().map(|entry| entry.path().join("kamailio/modules")));
    }
    folders.into_iter().map(|folder| folder.join("tm.so")).find(|path| path.is_file()).context(
        "no installed Kamailio found: install the package kamailio, or set KAMAILIO_MODULE to one of its modules (…/tm.so)",
    )
}

fn header_folder(version: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os("KAMAILIO_SRC") {
        let path = PathBuf::from(path);
        ensure!(
            path.join("core/sr_module.h").is_file(),
            "KAMAILIO_SRC={} holds no core/sr_module.h",
            path.display()
        );
        return Ok(path);
    }
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("crate outside the workspace")?;
    let path = root.join(format!("build/kamailio-src/kamailio-{version}/src"));
    ensure!(
        path.join("core/sr_module.h").is_file(),
        "no headers for Kamailio {version} at {}: run scripts/kamailio-headers, or set KAMAILIO_SRC",
        path.display()
    );
    Ok(path)
}

/// The headers name no version of their own; the makefile beside them does.
fn same_version(headers: &Path, installed: &str) -> Result<()> {
    let makefile = headers.join("Makefile.defs");
    println!("cargo::rerun-if-changed={}", makefile.display());
    let text = fs::read_to_string(&makefile).with_context(|| format!("reading {}", makefile.display()))?;
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let part = |name: &str| value(name).with_context(|| format!("{} sets no {name}", makefile.display()));
    let found = format!("{}.{}.{}", part("VERSION")?, part("PATCHLEVEL")?, part("SUBLEVEL")?);
    // A pre-release carries a suffix (6.1.0-pre1) that the three numbers do not show.
    let numbers = installed.split(['-', '~']).next().unwrap_or(installed);
    if found != numbers {
        let series = |version: &str| version.rsplit_once('.').map(|(series, _)| series.to_owned());
        let near = series(&found) == series(numbers);
        if near && env::var("KAMAILIO_ACCEPT_HEADERS").is_ok_and(|accepted| accepted == found) {
            println!(
                "cargo::warning=headers of Kamailio {found} for the installed {installed}, as you accepted"
            );
            return Ok(());
        }
        let way_out = if near {
            format!("; if you know that they do not: KAMAILIO_ACCEPT_HEADERS={found}")
        } else {
            String::new()
        };
        bail!(
            "the headers at {} are of Kamailio {found}, the installed one is {installed}: \
             struct layouts may differ, so nothing is built{way_out}",
            headers.display()
        );
    }
    Ok(())
}

fn compile_shim(headers: &Path, defines: &Defines, strings: &ModuleStrings) -> Result<()> {
    let mut build = cc::Build::new();
    build.file("shim.c").include(headers).include(".").warnings(false).define("MOD_NAME", "\"siplens\"");
    for (name, value) in &defines.list {
        build.define(name, value.as_deref());
    }
    let objects = build.try_compile_intermediates().context("compiling shim.c against Kamailio's headers")?;
    let object = objects.first().context("the compiler left no object file")?;
    for (symbol, wanted) in
        [("siplens_built_version", &strings.version), ("siplens_built_flags", &strings.flags)]
    {
        let built = elf::string_object(object, symbol)?;
        ensure!(
            &built == wanted,
            "{symbol}: the headers give \"{built}\", the installed module says \"{wanted}\": \
             a define is missing in ffi/kamailio-sys/build/defines.rs, or the headers are another build's"
        );
    }
    build.try_compile("siplens_kamailio_shim").context("archiving shim.c")?;
    Ok(())
}

fn bind(headers: &Path, defines: &Defines, strings: &ModuleStrings) -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let bindings = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_arg(format!("-I{}", headers.display()))
        .clang_args(defines.list.iter().map(|(name, value)| match value {
            Some(value) => format!("-D{name}={value}"),
            None => format!("-D{name}"),
        }))
        .allowlist_type("module_exports|cmd_export_t|param_export_t|rpc_export_t|rpc_t|sip_msg|onsend_info|sip_protos|sr_event_param|sr_net_info|pv_elem_t|script_cb_flag")
        .allowlist_type("sr_kemi|pv_export_t|pv_spec_t|pv_value_t|counter_handle_t")
        .allowlist_function("sr_kemi_modules_add|sr_kemi_eng_get|get_loaded_modules|counter_register")
        .allowlist_function("fixup_spve_all|fixup_free_spve_all|siplens_.*")
        .allowlist_function("sr_event_register_cb|register_script_cb|sr_event_enabled|pv_parse_format|pv_printf_s")
        .allowlist_function("register_procs|get_max_procs|fork_process|cfg_register_child|cfg_child_init")
        .allowlist_var("process_no|siplens_.*|PARAM_.*|PV_(VAL_NULL|VAL_STR|NAME_OTHER)|SR_KEMIP_(INT|STR)|CNT_F_NO_RESET|SREV_NET_DATA_(IN|OUT|RECV|SENT)|PROC_(INIT|MAIN|NOCHLDINIT)|L_(ERR|WARN|NOTICE|INFO|DBG)|AF_INET6?")
        .derive_debug(false)
        .layout_tests(true)
        .generate_comments(false)
        .merge_extern_blocks(true)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()
        .context("making bindings of Kamailio's headers")?;
    bindings.write_to_file(out.join("bindings.rs"))?;

    // C strings, as the loader wants them.
    fs::write(
        out.join("strings.rs"),
        format!(
            "/// What the core calls itself; compared when a module is loaded.\n\
             pub const MODULE_VERSION: &std::ffi::CStr = c{:?};\n\
             /// The core's compile flags; compared when a module is loaded.\n\
             pub const MODULE_FLAGS: &std::ffi::CStr = c{:?};\n",
            strings.version, strings.flags
        ),
    )?;
    Ok(())
}
