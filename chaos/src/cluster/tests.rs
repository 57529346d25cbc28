use std::net::TcpStream;

use super::*;

/// The cluster of the test.
fn start(directory: &Path, spus: u32) -> Cluster {
    let program = program(None).unwrap().expect("WEIR_FLUVIO_RUN: path of the program");
    Cluster::start(&program, directory, spus).unwrap()
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = program(Some(Path::new("/nowhere/fluvio-run"))).unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/fluvio-run"), "{error:#}");
}

#[test]
fn a_program_that_ends_at_once_is_told_with_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let error = Cluster::start(Path::new("/bin/false"), directory.path(), 1).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("controller") && text.contains("ended at its start"), "{text}");
}

#[test]
#[ignore = "needs a Fluvio cluster's program: WEIR_FLUVIO_RUN=PATH"]
fn every_process_can_be_killed_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = start(directory.path(), 2);
    cluster.controller.kill().unwrap();
    assert!(TcpStream::connect(cluster.endpoint()).is_err());
    cluster.controller.start().unwrap();
    cluster.wait_online().unwrap();
    for index in 0..2 {
        cluster.spus[index].kill().unwrap();
        let seen = || (!cluster.metadata.is_online(cluster.spus[index].name())).then_some(());
        clock::wait_for(MEET, seen).expect("the controller does not miss a killed SPU");
        cluster.spus[index].start().unwrap();
        cluster.wait_online().unwrap();
    }
    cluster.controller.stop().unwrap();
    cluster.controller.start().unwrap();
    cluster.wait_online().unwrap();
    cluster.wait_replicated().unwrap();
}
