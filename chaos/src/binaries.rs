//! What is attacked: the binary as shipped, and one with crash points and planted bugs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The two binaries.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// As shipped.
    pub(crate) weir: PathBuf,
    /// Built with the feature `faults`.
    pub(crate) faults: PathBuf,
}

impl Binaries {
    /// Builds both from this checkout, and copies them to `target/chaos`.
    ///
    /// # Errors
    /// If one does not build.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let to = root.join("target/chaos");
        fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
        // The one as shipped last, so that it is what `target/release/weir` is afterwards.
        let faults = build(&root, &["--features", "faults"], &to.join("weir-faults"))?;
        let weir = build(&root, &[], &to.join("weir"))?;
        Ok(Self { weir, faults })
    }

    /// Those at `weir` and `faults`.
    ///
    /// # Errors
    /// If one is not there.
    pub(crate) fn given(weir: &Path, faults: &Path) -> anyhow::Result<Self> {
        let found = |path: &Path| path.canonicalize().with_context(|| path.display().to_string());
        Ok(Self { weir: found(weir)?, faults: found(faults)? })
    }
}

fn build(root: &Path, options: &[&str], to: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "-p", "weir"]).args(options).current_dir(root);
    let status = command.status().context("start cargo")?;
    ensure!(status.success(), "{command:?}: {status}");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let built = target.join("release/weir");
    // A new file: the old one may be running.
    fs::remove_file(to)
        .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    fs::copy(&built, to).with_context(|| built.display().to_string())?;
    to.canonicalize().with_context(|| to.display().to_string())
}
