use std::fs;

use super::*;

fn rule(id: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\nwhen = \"value > 1\"\nseverity = \"info\"\nmessage = \"{{value}}\"\n")
}

fn emitting(id: &str, stream: &str) -> String {
    format!("{}[[rule.step]]\nemit = \"{stream}\"\n", rule(id))
}

fn ids(rules: &RuleSet) -> Vec<String> {
    rules.rules().iter().map(|rule| rule.id().to_owned()).collect()
}

/// A counter or gauge as it is shown.
fn shown(registry: &Registry, name: &str, label: Option<&str>) -> f64 {
    let families = registry.gather();
    let series = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
    let of = series.filter(|metric| label.is_none_or(|label| metric.get_label().iter().any(|is| is.value() == label)));
    of.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

struct Running {
    path: PathBuf,
    registry: Registry,
    rules: watch::Receiver<Arc<RuleSet>>,
    _reload: Reload,
}

fn start(path: &Path) -> Running {
    let registry = Registry::new();
    let open = ["maintenance".to_owned()];
    let (rules, reload) = Reload::start(path, &open, RuleSet::load(path).unwrap(), &registry).unwrap();
    Running { path: path.to_owned(), registry, rules, _reload: reload }
}

impl Running {
    /// Replaces the file as editors do, at once.
    fn write(&self, text: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &self.path).unwrap();
    }

    async fn until(&mut self, expected: &[&str]) {
        let wait = self.rules.wait_for(|rules| ids(rules) == expected);
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap().unwrap();
    }

    async fn until_refused(&self, times: f64) {
        for _ in 0..3_000 {
            if shown(&self.registry, "weir_rules_reloads_total", Some("refused")) >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not refused {times} times");
    }
}

#[tokio::test]
async fn a_changed_file_comes_into_force_and_a_bad_one_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.toml");
    fs::write(&path, rule("first")).unwrap();
    let mut running = start(&path);
    assert_eq!(ids(&running.rules.borrow()), ["first"]);
    assert_eq!(shown(&running.registry, "weir_rules_last_reload_success", None), 1.0);

    running.write(&(rule("first") + &rule("second")));
    running.until(&["first", "second"]).await;
    assert_eq!(shown(&running.registry, "weir_rules_reloads_total", Some("ok")), 1.0);

    running.write(&rule("third").replace("value > 1", "valeu > 1"));
    running.until_refused(1.0).await;
    assert_eq!(ids(&running.rules.borrow()), ["first", "second"], "the old rules stay");
    assert_eq!(shown(&running.registry, "weir_rules_last_reload_success", None), 0.0);

    running.write(&emitting("third", "unknown"));
    running.until_refused(2.0).await;
    assert_eq!(ids(&running.rules.borrow()), ["first", "second"], "nobody opened the stream `unknown`");

    running.write(&emitting("third", "maintenance"));
    running.until(&["third"]).await;
    assert_eq!(shown(&running.registry, "weir_rules_last_reload_success", None), 1.0);
}

#[tokio::test]
async fn a_change_between_the_start_and_the_first_look_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.toml");
    fs::write(&path, rule("old")).unwrap();
    let initial = RuleSet::load(&path).unwrap();
    fs::write(&path, rule("new")).unwrap();
    let (mut rules, _reload) = Reload::start(&path, &[], initial, &Registry::new()).unwrap();
    let wait = rules.wait_for(|rules| ids(rules) == ["new"]);
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap().unwrap();
}

#[test]
fn what_was_written_differently_is_not_the_same() {
    let set = |text: &str| RuleSet::parse(text, "test").unwrap();
    let base = set(&rule("a"));
    assert!(same(&base, &set(&format!("# a comment\n{}", rule("a")))));
    for other in [rule("b"), rule("a").replace("> 1", "> 2"), emitting("a", "s"), String::new(), rule("a") + &rule("b")]
    {
        assert!(!same(&base, &set(&other)), "{other}");
    }
}

#[tokio::test]
async fn files_that_come_into_a_directory_and_leave_it_count() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.toml"), rule("a")).unwrap();
    let mut running = start(directory.path());
    fs::write(directory.path().join("b.toml"), rule("b")).unwrap();
    running.until(&["a", "b"]).await;
    fs::remove_file(directory.path().join("a.toml")).unwrap();
    running.until(&["b"]).await;
}

#[test]
fn a_change_counts_once_it_stands_still() {
    let seen = |length| Seen(vec![("a".into(), length, None, 1)]);
    let mut changes = Changes::new(seen(1));
    assert!(!changes.look(seen(1)), "nothing changed");
    assert!(!changes.look(seen(2)), "being written");
    assert!(!changes.look(seen(3)), "still being written");
    assert!(changes.look(seen(3)));
    assert!(!changes.look(seen(3)), "a refused file is not read again and again");
    assert!(!changes.look(seen(1)) && changes.look(seen(1)), "back to what was before is a change");
}

#[test]
fn a_look_sees_only_rule_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.toml"), "1").unwrap();
    let before = look(directory.path());
    fs::write(directory.path().join("a.toml.swp"), "1").unwrap();
    assert_eq!(look(directory.path()), before);
    fs::write(directory.path().join("b.toml"), "1").unwrap();
    assert_ne!(look(directory.path()), before);
    assert_eq!(look(&directory.path().join("nothing")), Seen::default());
}
