//! The judge: a Python script with DuckDB, which shares no code with Weir.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::outcome::Verdict;
use crate::workflows::EVENTS;

/// File of the commands that devices got.
pub(crate) const COMMANDS: &str = "commands.csv";

/// The script, and a Python that has DuckDB.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    python: PathBuf,
    script: PathBuf,
}

/// How strict it is, and with which rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Rules by id, as SQL.
    pub(crate) rules: Vec<(String, String)>,
    /// The devices do not send in order.
    pub(crate) unordered: bool,
    /// The clock of the machine jumped.
    pub(crate) no_clock: bool,
    /// Rules with steps, as [`crate::workflows`] tells of them.
    pub(crate) workflows: Option<PathBuf>,
    /// What a broker delivered to [`crate::witness`]. Then it acknowledged, and no proxy saw it.
    pub(crate) witness: Option<PathBuf>,
}

/// The verdict, and examples of what is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) examples: String,
}

impl Judge {
    /// Finds Python with DuckDB: `WEIR_PYTHON`, or `.venv` of this checkout, or one made now in `target/chaos`.
    ///
    /// # Errors
    /// If none can be had.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = root.join("judge/judge.py");
        let own = root.join("../target/chaos/venv");
        let candidates = [
            std::env::var_os("WEIR_PYTHON").map(PathBuf::from),
            Some(root.join("../.venv/bin/python")),
            Some(own.join("bin/python")),
        ];
        for python in candidates.into_iter().flatten() {
            if has_duckdb(&python) {
                return Ok(Self { python, script });
            }
        }
        eprintln!("making a Python environment with DuckDB in {}", own.display());
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&own))?;
        let python = own.join("bin/python");
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        succeed(Command::new(&python).args(pip).arg(root.join("judge/requirements.txt")))?;
        ensure!(has_duckdb(&python), "{} cannot import duckdb", python.display());
        Ok(Self { python, script })
    }

    /// Judges the round in `directory`, whose data are in `data`.
    ///
    /// # Errors
    /// If it cannot judge: a file is missing, or the witnesses contradict each other.
    pub(crate) fn judge(&self, directory: &Path, data: &Path, terms: &Terms) -> anyhow::Result<Judgement> {
        let tables = data.join("tables");
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg("--json");
        command.arg("--sent").arg(directory.join("sent.csv"));
        command.arg("--ledger").arg(directory.join("ledger.csv"));
        match &terms.witness {
            None => command.arg("--pubacks").arg(directory.join("pubacks.csv")),
            Some(witness) => command.arg("--witness").arg(witness),
        };
        command.arg("--readings").arg(tables.join("readings"));
        command.arg("--alerts").arg(tables.join("alerts"));
        for (id, when) in &terms.rules {
            command.arg("--rule").arg(format!("{id}={when}"));
        }
        command.args(terms.unordered.then_some("--unordered")).args(terms.no_clock.then_some("--no-clock"));
        if let Some(workflows) = &terms.workflows {
            command.arg("--workflows").arg(workflows).arg("--hooks").arg(directory.join("hooks.csv"));
            command.arg("--events").arg(tables.join(EVENTS));
            let commands = directory.join(COMMANDS);
            command.args(
                commands.exists().then(|| ["--commands".into(), commands.into_os_string()]).into_iter().flatten(),
            );
        }
        let output = command.output().context("start the judge")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("the judge cannot judge {}: {out}\n{err}", directory.display());
        }
        let json = out.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(json).with_context(|| format!("the judge said: {out}\n{err}"))?;
        let examples = value.get("examples").map(Value::to_string).unwrap_or_default();
        let verdict: Verdict = serde_json::from_value(counts(value))?;
        let kept = output.status.success();
        ensure!(kept == verdict.faults().is_empty(), "the judge's exit code contradicts what it says: {json}");
        Ok(Judgement { verdict, examples })
    }
}

/// What was not judged has no count: it counts as nothing found.
fn counts(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

fn has_duckdb(python: &Path) -> bool {
    Command::new(python).args(["-c", "import duckdb"]).output().is_ok_and(|output| output.status.success())
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
