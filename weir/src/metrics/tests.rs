//! `docs/metrics.md` is what a whole process shows. To write it anew:
//! `UPDATE_DOCS=1 cargo test -p weir metrics::tests::the_documentation`.

use std::path::{Path, PathBuf};

use prometheus::proto::MetricFamily;

use self::document::document;
use self::whole::Whole;
use crate::wiring::{Assignment, Beginning, Behind, Role, Tables};

mod document;
mod whole;

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_has_every_metric_and_no_other() {
    let whole = Whole::start(Role::up(Behind::Everything)).await;
    whole.does_everything().await;
    let families = whole.registry().gather();
    whole.stop().await;
    let expected = document(&families);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page(), &expected).unwrap();
    }
    let written = std::fs::read_to_string(page()).unwrap_or_default();
    for (line, (is, should)) in written.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "line {} of docs/metrics.md; UPDATE_DOCS=1 writes it anew", line + 1);
    }
    assert_eq!(written.len(), expected.len(), "docs/metrics.md ends elsewhere; UPDATE_DOCS=1 writes it anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_apart_shows_the_parts_it_has_and_no_difference_of_readings() {
    let (all, first) = (Assignment::All, Beginning::First);
    let sink = |table: &str| Role::sink(Tables::Named(vec![table.to_owned()]), all.clone(), first);
    let stages = [
        (Role::up(Behind::Nothing), vec!["in_flight", "received"], true),
        (Role::ingest(), vec!["in_flight", "received"], true),
        (Role::process(all.clone(), first), vec![], false),
        (sink("readings"), vec!["deduplicated", "in_flight", "stored"], false),
        (sink("alerts"), vec![], false),
    ];
    for (role, expected, has_door) in stages {
        let whole = Whole::start(role).await;
        let families = whole.registry().gather();
        whole.stop().await;
        let family = |name: &str| families.iter().find(|family| family.name() == name);
        let parts = family("weir_balance_readings").map_or(&[][..], MetricFamily::get_metric);
        let parts: Vec<&str> = parts.iter().map(|part| part.get_label()[0].value()).collect();
        assert_eq!(parts, expected);
        assert!(family("weir_balance_difference_readings").is_none(), "{expected:?}");
        assert_eq!(family("weir_balance_difference_messages").is_some(), has_door, "{expected:?}");
    }
}
