//! A configuration is refused before it does harm.

use anyhow::Result;
use harness::backend::check_config;

fn check(text: &str) -> Result<(bool, String)> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("siplens.toml");
    std::fs::write(&file, text)?;
    let output = check_config(&file)?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), said))
}

#[test]
fn a_good_configuration_passes() -> Result<()> {
    let (good, said) = check("[http]\nlisten = \"127.0.0.1:9980\"\n")?;
    assert!(good, "{said}");
    Ok(())
}

#[test]
fn every_unknown_key_is_named() -> Result<()> {
    let (good, said) = check("[http]\nlissten = \"127.0.0.1:9980\"\n[spol]\nmax_bytes = 1\n")?;
    assert!(!good);
    assert!(said.contains("lissten") && said.contains("spol"), "{said}");
    Ok(())
}

#[test]
fn a_wrong_value_is_named() -> Result<()> {
    let (good, said) = check("[hep]\nlisten = \"nowhere\"\n")?;
    assert!(!good);
    assert!(said.contains("listen"), "{said}");
    Ok(())
}
