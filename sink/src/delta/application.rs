//! Names of applications in the log, each with a number that only goes up.
//!
//! ```text
//! weir/readings/3         first offset of partition 3 whose rows are not in the table
//! weir-owner/readings/3   epoch of the process that owns partition 3; only in a table that was shared
//! ```

const POSITION: &str = "weir/";
const OWNER: &str = "weir-owner/";

/// Position of `partition` in `table`.
pub(crate) fn position(table: &str, partition: u32) -> String {
    format!("{POSITION}{table}/{partition}")
}

/// Epoch of the owner of `partition` in `table`.
pub(crate) fn owner(table: &str, partition: u32) -> String {
    format!("{OWNER}{table}/{partition}")
}

/// Which partition of `table` `app_id` gives the position of, as it is written there.
pub(crate) fn position_of<'a>(app_id: &'a str, table: &str) -> Option<&'a str> {
    below(app_id, POSITION, table)
}

/// Which partition of `table` `app_id` says anything about.
pub(crate) fn partition_of(app_id: &str, table: &str) -> Option<u32> {
    below(app_id, POSITION, table).or_else(|| below(app_id, OWNER, table))?.parse().ok()
}

fn below<'a>(app_id: &'a str, kind: &str, table: &str) -> Option<&'a str> {
    app_id.strip_prefix(kind)?.strip_prefix(table)?.strip_prefix('/')
}
