#![forbid(unsafe_code)]
//! Every function of a module that the host may call holds its panics back: its body is in a fence, or it only hands on to
//! a function whose body is. A panic that got out would end the process, and with it the proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// File (without folder and ending) and name.
type Key = (String, String);

struct Function {
    /// Whether the host may call it.
    entry: bool,
    body: String,
}

#[test]
fn every_function_that_the_host_calls_is_fenced() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no parent")?;
    for module in ["kamailio-mod", "opensips-mod"] {
        let mut files = Vec::new();
        collect(&root.join(module).join("src"), &mut files)?;
        let mut functions = BTreeMap::new();
        for file in &files {
            read(file, &mut functions)?;
        }
        let fenced = fenced(&functions);
        let entries: Vec<_> = functions.iter().filter(|(_, function)| function.entry).collect();
        ensure!(files.is_empty() || entries.len() > 3, "{module}: only {} entries were found", entries.len());
        for (key, _) in entries {
            ensure!(
                fenced.contains(key),
                "{module}: {}.rs: {} is called by the host without a fence",
                key.0,
                key.1
            );
        }
    }
    Ok(())
}

/// Those that have a fence, those that call nothing of ours but one of these, and so on.
fn fenced(functions: &BTreeMap<Key, Function>) -> BTreeSet<Key> {
    let has_fence = |function: &Function| function.body.contains("fence(");
    let mut found: BTreeSet<Key> =
        functions.iter().filter(|(_, f)| has_fence(f)).map(|(key, _)| key.clone()).collect();
    loop {
        let more: Vec<Key> = functions
            .iter()
            .filter(|(key, function)| !found.contains(*key) && hands_on(key, function, &found))
            .map(|(key, _)| key.clone())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Whether it calls a fenced function, or does nothing that could panic.
fn hands_on(key: &Key, function: &Function, fenced: &BTreeSet<Key>) -> bool {
    let calls = calls(&key.0, &function.body);
    calls.is_empty() || calls.iter().any(|call| fenced.contains(call))
}

/// What stands before each opening parenthesis, as file and name.
fn calls(file: &str, body: &str) -> Vec<Key> {
    let path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    body.match_indices('(')
        .filter_map(|(at, _)| {
            let before = &body[..at];
            let name = before.rsplit(|letter| !path(letter)).next().filter(|name| !name.is_empty())?;
            let mut parts = name.rsplit("::");
            let name = parts.next()?.to_owned();
            Some((parts.next().unwrap_or(file).to_owned(), name))
        })
        .collect()
}

/// The functions of one file. It is formatted: a body ends at the first brace that stands as far left as its beginning.
fn read(file: &Path, functions: &mut BTreeMap<Key, Function>) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).context("no name")?.to_owned();
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let indent = line.len() - line.trim_start().len();
        let declares = before.trim().split(' ').all(|word| {
            word.is_empty() || ["pub", "pub(crate)", "const", "unsafe", "extern", "\"C\""].contains(&word)
        });
        let name: String =
            after.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        if !declares || name.is_empty() {
            continue;
        }
        let end = format!("{:indent$}}}", "");
        let body: Vec<&str> = lines[number + 1..].iter().copied().take_while(|line| *line != end).collect();
        let one_line = line.trim_end().ends_with('}');
        let body = if one_line { after.to_owned() } else { body.join("\n") };
        let entry = before.contains("extern \"C\"");
        functions.insert((stem.clone(), name), Function { entry, body });
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
