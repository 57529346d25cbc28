//! What a process does: everything, or one stage.

use anyhow::bail;
use streams::StreamName;

use super::beginning::Beginning;
use super::partitions::Assignment;
use crate::config::Config;

/// What runs behind the door of `weir up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Rules, workflows and tables.
    Everything,
    /// Nothing: messages stay in the streams. For measurements of the door alone.
    Nothing,
    /// Everything, but acknowledgements do not wait for the disk. For measurements of what the sync costs.
    EverythingUnsynced,
}

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// What other processes are told of the owner of a partition, e.g. `sink`.
    pub(crate) name: &'static str,
    /// Takes messages.
    pub(crate) door: bool,
    /// Evaluates rules.
    pub(crate) rules: bool,
    /// Runs workflows.
    pub(crate) workflows: bool,
    /// Writes these tables.
    pub(crate) tables: Tables,
    /// Of the partitions of every stream it reads, these.
    pub(crate) partitions: Assignment,
    /// Where its groups begin if they are new.
    pub(crate) from: Beginning,
    /// Whether acknowledgements wait for the disk.
    pub(super) sync: bool,
    /// Whether other processes do the rest. Then a stop does not wait for what they still append.
    pub(super) apart: bool,
}

/// Tables that a process writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Readings, alerts, and one for each stream of events.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

impl Tables {
    /// None at all.
    const NONE: Self = Self::Named(Vec::new());

    /// The streams whose tables are written, in the order in which they are told.
    pub(super) fn of(&self, config: &Config) -> anyhow::Result<Vec<StreamName>> {
        let mut all = vec![StreamName::readings(), StreamName::alerts()];
        all.extend(config.emit()?);
        let Self::Named(names) = self else { return Ok(all) };
        if let Some(unknown) = names.iter().find(|name| all.iter().all(|table| table.as_str() != **name)) {
            let known: Vec<&str> = all.iter().map(StreamName::as_str).collect();
            bail!(
                "--table names `{unknown}`: expected some of {} (readings, alerts, and streams.emit)",
                known.join(", ")
            );
        }
        all.retain(|table| names.iter().any(|name| table.as_str() == name));
        Ok(all)
    }
}

impl Role {
    /// Everything in one process.
    pub(crate) fn up(behind: Behind) -> Self {
        let all = behind != Behind::Nothing;
        Self {
            name: "up",
            door: true,
            rules: all,
            workflows: all,
            tables: if all { Tables::All } else { Tables::NONE },
            partitions: Assignment::All,
            from: Beginning::First,
            sync: behind != Behind::EverythingUnsynced,
            apart: false,
        }
    }

    /// The door alone. It appends to any partition, and reads none.
    pub(crate) fn ingest() -> Self {
        Self { door: true, ..Self::stage("ingest", Assignment::All, Beginning::First) }
    }

    /// The rules alone.
    pub(crate) fn process(partitions: Assignment, from: Beginning) -> Self {
        Self { rules: true, ..Self::stage("process", partitions, from) }
    }

    /// Workflows alone.
    pub(crate) fn workflows(partitions: Assignment, from: Beginning) -> Self {
        Self { workflows: true, ..Self::stage("workflows", partitions, from) }
    }

    /// Tables alone.
    pub(crate) fn sink(tables: Tables, partitions: Assignment, from: Beginning) -> Self {
        Self { tables, ..Self::stage("sink", partitions, from) }
    }

    fn stage(name: &'static str, partitions: Assignment, from: Beginning) -> Self {
        Self {
            name,
            door: false,
            rules: false,
            workflows: false,
            tables: Tables::NONE,
            partitions,
            from,
            sync: true,
            apart: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tables: &Tables) -> anyhow::Result<Vec<String>> {
        let mut config = Config::default();
        config.streams.emit = vec!["maintenance".to_owned()];
        Ok(tables.of(&config)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_stages_apart_do_together_what_up_does() {
        let (all, first) = (Assignment::All, Beginning::First);
        let stages = [
            Role::ingest(),
            Role::process(all.clone(), first),
            Role::workflows(all.clone(), first),
            Role::sink(Tables::All, all, first),
        ];
        let up = Role::up(Behind::Everything);
        for does in [|role: &Role| role.door, |role: &Role| role.rules, |role: &Role| role.workflows] {
            assert_eq!((does(&up), stages.iter().filter(|stage| does(stage)).count()), (true, 1));
        }
        assert_eq!(stages.iter().filter(|stage| stage.tables == up.tables).count(), 1);
        assert!(stages.iter().all(|stage| stage.apart && stage.sync) && !up.apart);
    }

    #[test]
    fn nothing_behind_the_door_means_nothing() {
        let bare = Role::up(Behind::Nothing);
        assert!(bare.door && !bare.rules && !bare.workflows);
        assert_eq!(names(&bare.tables).unwrap(), [""; 0]);
        assert!(!Role::up(Behind::EverythingUnsynced).sync);
    }

    #[test]
    fn tables_are_chosen_by_name() {
        assert_eq!(names(&Tables::All).unwrap(), ["readings", "alerts", "maintenance"]);
        let some = Tables::Named(vec!["maintenance".to_owned(), "readings".to_owned()]);
        assert_eq!(names(&some).unwrap(), ["readings", "maintenance"]);
        let error = names(&Tables::Named(vec!["reading".to_owned()])).unwrap_err().to_string();
        assert!(error.contains("`reading`") && error.contains("readings, alerts, maintenance"), "{error}");
    }
}
