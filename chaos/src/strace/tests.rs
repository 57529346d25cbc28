use std::process::Output;

use super::*;

/// Runs `script` of sh in `directory` with the fault, and gives what came of it.
fn run(wrapper: &[OsString], directory: &Path, script: &str) -> Output {
    let (program, options) = wrapper.split_first().unwrap();
    Command::new(program).args(options).args(["sh", "-c", script]).current_dir(directory).output().unwrap()
}

fn mkdir(effect: Effect, nth: Option<u32>, path: PathBuf) -> Injection {
    Injection { calls: vec![Call::Mkdir], effect, nth, paths: vec![path] }
}

#[test]
#[ignore = "needs strace"]
fn only_the_chosen_call_on_the_chosen_file_fails() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let trace = root.join("trace");
    let wrapper = mkdir(Effect::NoSpace, Some(1), root.join("b")).wrapper(&trace);
    let output = run(&wrapper, &root, &format!("exec mkdir {0}/a {0}/b {0}/c", root.display()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
    assert!(root.join("a").is_dir() && !root.join("b").exists() && root.join("c").is_dir());
    assert_eq!(hits(&trace).unwrap(), 1);
}

#[test]
#[ignore = "needs strace"]
fn a_lie_does_nothing_and_reports_success() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let wrapper = mkdir(Effect::Lie, None, root.join("a")).wrapper(&root.join("trace"));
    assert!(run(&wrapper, &root, &format!("exec mkdir {}/a", root.display())).status.success());
    assert!(!root.join("a").exists());
}

#[test]
#[ignore = "needs strace"]
fn a_process_is_killed_before_its_nth_call() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let fault = Injection { calls: vec![Call::Mkdir], effect: Effect::Kill, nth: Some(2), paths: Vec::new() };
    let wrapper = fault.wrapper(&root.join("trace"));
    let output = run(&wrapper, &root, &format!("exec mkdir {0}/a {0}/b {0}/c", root.display()));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9));
    assert!(root.join("a").is_dir() && !root.join("c").exists());
}

#[test]
#[ignore = "needs strace"]
fn a_recording_names_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let trace = root.join("trace");
    let script = format!("mkdir {0}/d1 && mv {0}/d1 {0}/d2", root.display());
    assert!(run(&recorder(&trace), &root, &script).status.success());
    // The tracer is not our child: its last line may come after the program's end.
    let found = crate::clock::wait_for(Duration::from_secs(10), || {
        let sites = sites(&trace, &root).unwrap();
        let found = |call| sites.iter().any(|site| site.call == call && site.place == "dN");
        (found(Call::Mkdir) && found(Call::Rename)).then_some(())
    });
    assert!(found.is_some());
}
