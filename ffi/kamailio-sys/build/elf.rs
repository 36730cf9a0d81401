//! The strings that a module carries, read out of its file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// What the core compares when it loads a module.
pub struct ModuleStrings {
    /// `kamailio 5.6.3 (x86_64/linux)`
    pub version: String,
    /// `USE_TCP, USE_TLS, …`
    pub flags: String,
}

/// Reads `module_version` and `module_flags` of a shared object. `kamailio -v` is no substitute: on 6.1 it prints
/// flags that modules are not compared with.
pub fn module_strings(path: &Path) -> Result<ModuleStrings> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let file =
        object::File::parse(&*bytes).with_context(|| format!("{} is not an ELF file", path.display()))?;
    let read = |name| pointed_string(&file, name).with_context(|| format!("{}: {name}", path.display()));
    Ok(ModuleStrings { version: read("module_version")?, flags: read("module_flags")? })
}

/// The characters of `const char name[]` in an object file.
pub fn string_object(path: &Path, name: &str) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let file = object::File::parse(&*bytes)?;
    let symbol = file.symbol_by_name(name).with_context(|| format!("no symbol {name}"))?;
    let index = symbol.section_index().with_context(|| format!("{name} is in no section"))?;
    let data = file
        .section_by_index(index)?
        .data_range(symbol.address(), symbol.size())?
        .with_context(|| format!("{name} has no data"))?;
    text(data).with_context(|| name.to_owned())
}

/// Follows `char *name`: the variable's relocation says where its string lies.
fn pointed_string(file: &object::File<'_>, name: &str) -> Result<String> {
    let symbol = file
        .dynamic_symbols()
        .find(|symbol| symbol.name() == Ok(name))
        .context("not an exported symbol: is this a Kamailio module?")?;
    let relocated = file.dynamic_relocations().into_iter().flatten().find_map(|(place, relocation)| {
        let relative = relocation.target() == RelocationTarget::Absolute;
        (place == symbol.address() && relative).then(|| relocation.addend() as u64)
    });
    let address = match relocated {
        Some(address) => address,
        // Packed relocations (RELR) leave the address in place.
        None => {
            let word = bytes_at(file, symbol.address())?.get(..8).context("variable cut short")?;
            u64::from_le_bytes(word.try_into()?)
        }
    };
    text(bytes_at(file, address)?)
}

/// The bytes from a virtual address to the end of its section.
fn bytes_at<'data>(file: &object::File<'data>, address: u64) -> Result<&'data [u8]> {
    let section = file
        .sections()
        .find(|section| (section.address()..section.address() + section.size()).contains(&address))
        .with_context(|| format!("address {address:#x} is in no section"))?;
    let start = (address - section.address()) as usize;
    section.data()?.get(start..).context("section cut short")
}

fn text(bytes: &[u8]) -> Result<String> {
    let end = bytes.iter().position(|&byte| byte == 0).context("string without its end")?;
    Ok(std::str::from_utf8(&bytes[..end])?.to_owned())
}
