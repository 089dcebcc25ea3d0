//! A smaller program for use: functions that came out alike are kept once, and relocations packed. Linkers that cannot
//! do so, and systems that cannot load what comes of it, get the plain program.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

const SMALLER: [&str; 2] = ["-Wl,--icf=all", "-Wl,-z,pack-relative-relocs"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_for_use = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // Only what runs here can be tried.
    let is_native = env::var("HOST").ok() == env::var("TARGET").ok();
    if !is_for_use || !is_native || env::var("CARGO_CFG_TARGET_OS").ok().as_deref() != Some("linux") {
        return;
    }
    for argument in SMALLER {
        if works(argument).unwrap_or(false) {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
}

/// Whether a program that is linked so runs.
fn works(argument: &str) -> std::io::Result<bool> {
    let folder = env::var_os("OUT_DIR").unwrap_or_else(|| OsString::from("."));
    let (source, program) = (Path::new(&folder).join("tried.rs"), Path::new(&folder).join("tried"));
    fs::write(&source, "fn main() {}")?;
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    rustc.arg(&source).arg("-o").arg(&program).args(["-C", &format!("link-arg={argument}")]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg({
            let mut named = OsString::from("linker=");
            named.push(linker);
            named
        });
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    Ok(rustc.output()?.status.success() && Command::new(&program).status()?.success())
}
