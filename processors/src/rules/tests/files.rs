use super::*;

fn load(folder: &Path) -> Result<RuleSet, RuleError> {
    RuleSet::load(folder)
}

#[test]
fn a_directory_is_its_files_in_order_of_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    assert!(load(folder.path()).unwrap().rules().is_empty());
    write("b.toml", &rule("first-of-b", "true", "m"));
    write("a.toml", &format!("{}\n{}", rule("z", "true", "m"), rule("y", "true", "m")));
    write("c.toml", "");
    write("notes.md", "not a rule");
    write(".#a.toml", "what an editor left");
    std::fs::create_dir(folder.path().join("more")).unwrap();
    let set = load(folder.path()).unwrap();
    let ids: Vec<_> = set.rules().iter().map(|rule| (rule.id(), rule.origin().ends_with("a.toml"))).collect();
    assert_eq!(ids, [("z", true), ("y", true), ("first-of-b", false)]);
}

#[test]
fn an_id_in_two_files_names_both() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), rule("r", "true", "m")).unwrap();
    std::fs::write(folder.path().join("b.toml"), format!("\n{}", rule("r", "true", "m"))).unwrap();
    let Err(RuleError::Invalid(problem)) = load(folder.path()) else { panic!("accepted") };
    assert!(problem.origin.ends_with("b.toml"), "{problem}");
    assert!(problem.problem.contains("`r` occurs in") && problem.problem.contains("a.toml too"), "{problem}");
    assert_eq!((problem.line, problem.column), (3, 6));
}

#[test]
fn all_files_together_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["a", "b"] {
        let rules: Vec<_> = (0..501).map(|at| rule(&format!("{file}{at}"), "true", "m")).collect();
        std::fs::write(folder.path().join(format!("{file}.toml")), rules.join("\n")).unwrap();
    }
    let Err(RuleError::Invalid(problem)) = load(folder.path()) else { panic!("accepted") };
    assert!(problem.problem.contains("there are 1002 rules, the limit is 1000"), "{problem}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a.toml")).unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(matches!(&error, RuleError::System { path, .. } if path.ends_with("a.toml")), "{error}");
    let log = folder.path().join("log");
    std::fs::File::create(&log).unwrap().set_len(10_000_000_000).unwrap();
    let error = load(&log).unwrap_err();
    assert!(error.to_string().contains("file has 10000000000 bytes"), "{error}");
}
