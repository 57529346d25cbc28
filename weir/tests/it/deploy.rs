//! What `deploy/` and `docs/scaling.md` say is what the binary does: options, commands, metrics, ports, times. What
//! other programs say of the files is in [`programs`].

mod programs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::process::{succeed, weir};

/// Files with the settings of containers and services.
const CONFIGURATIONS: [&str; 3] = ["deploy/weir.toml", "deploy/weir-single.toml", "deploy/kubernetes/base/weir.toml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below `folder` with one of the `endings`, and their text.
fn below(folder: &str, endings: &[&str]) -> Vec<(PathBuf, String)> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                files.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!files.is_empty());
    files.sort();
    files
}

/// The words of `text` that begin with `prefix`: letters, digits and underscores.
fn words<'a>(text: &'a str, prefix: &str) -> impl Iterator<Item = &'a str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(move |word| word.starts_with(prefix))
}

/// The numbers that stand behind `prefix` in `text`.
fn numbers(text: &str, prefix: &str) -> Vec<u64> {
    let after = text.match_indices(prefix).map(|(at, _)| &text[at + prefix.len()..]);
    after.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).collect()
}

#[test]
fn every_configuration_is_accepted() {
    for file in CONFIGURATIONS {
        succeed(weir().arg("--config").arg(root().join(file)).arg("config"));
    }
    let rules = root().join("deploy/kubernetes/base/rules.toml");
    succeed(weir().args(["rules", "check"]).arg(rules));
}

#[test]
fn every_setting_of_an_environment_exists() {
    for (path, text) in below("deploy", &["Dockerfile", ".yaml", ".service", ".env"]) {
        for line in text.lines() {
            let Some(at) = line.find("WEIR_").filter(|at| line[*at..].contains("__")) else { continue };
            let (name, value) = line[at..].split_once(['=', ':']).unwrap();
            let value = value.trim_end_matches('\\').trim().replace("%i", "ingest");
            // A bridge wants to know what to subscribe to: that file says it.
            let file = root().join("deploy/weir.toml");
            let output = weir().arg("--config").arg(file).arg("config").env(name, &value).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {name}={value}: {error}", path.display());
            let shown = String::from_utf8(output.stdout).unwrap();
            assert!(shown.contains(&value), "{}: {name}={value} changes nothing:\n{shown}", path.display());
        }
    }
}

/// The command lines of weir in `deploy/` and in the documentation, without the name of the program.
fn command_lines() -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    for (path, text) in below("deploy", &[".yaml"]) {
        for line in text.lines() {
            let list = ["command: [", "args: [", "value: [\"--config\""].iter().find_map(|key| line.find(key));
            let Some(at) = list else { continue };
            let words: Vec<String> = serde_json::from_str(&line[line[at..].find('[').unwrap() + at..]).unwrap();
            if words.first().is_some_and(|word| word == "--config" || word == "simulate") {
                found.push((path.clone(), words.iter().map(|word| word.replace("$(POD_INDEX)", "0")).collect()));
            }
        }
    }
    let split = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (path, text) in below("deploy/systemd", &[".env"]) {
        let stage = text.lines().find_map(|line| line.strip_prefix("WEIR_STAGE=")).unwrap();
        found.push((path, split(stage)));
    }
    let unit = read("deploy/systemd/weir.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/weir ")).unwrap();
    found.push(("weir.service".into(), split(start)));
    for document in ["docs/scaling.md", "docs/runbook.md", "deploy/README.md"] {
        let text = read(document).replace("\\\n", " ");
        for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("weir ")) {
            let line = line.split(['#', '>', '|', '&']).next().unwrap();
            found.push((document.into(), split(line)));
        }
    }
    found
}

#[test]
fn every_command_is_one() {
    let lines = command_lines();
    for stage in ["up", "ingest", "process", "workflows", "sink", "simulate"] {
        assert!(lines.iter().any(|(_, words)| words.iter().any(|word| word == stage)), "no command line of {stage}");
    }
    // `--help` comes behind the rest, which is read before.
    let refused = weir().args(["simulate", "--devices", "nonsense", "--help"]).output().unwrap();
    assert!(!refused.status.success());
    for (path, words) in lines {
        let output = weir().args(&words).arg("--help").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: weir {}\n{error}", path.display(), words.join(" "));
    }
}

#[test]
fn every_metric_exists() {
    let mut known = BTreeSet::new();
    for crate_name in ["ingest", "processors", "sink", "streams", "weir"] {
        for (_, text) in below(&format!("{crate_name}/src"), &[".rs"]) {
            known.extend(words(&text, "weir_").map(str::to_owned));
        }
    }
    let mut used = BTreeSet::new();
    let mut texts = below("deploy/prometheus", &[".yml"]);
    texts.extend(below("dashboards/json", &[".json"]));
    for document in ["docs/scaling.md", "docs/runbook.md"] {
        texts.push((document.into(), read(document)));
    }
    for (path, text) in texts {
        for name in words(&text, "weir_") {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            assert!(known.contains(name) || known.contains(base), "{}: no metric {name}", path.display());
            used.insert(base.to_owned());
        }
    }
    assert!(used.len() > 10, "{used:?}");
}

#[test]
fn ports_and_names_agree() {
    let compose = read("deploy/compose.yaml");
    let is_service = |name: &str| compose.contains(&format!("\n  {name}:\n"));
    let image = read("deploy/Dockerfile");
    assert!(image.contains("WEIR_MQTT__LISTEN=0.0.0.0:1883") && image.contains("WEIR_HTTP__LISTEN=0.0.0.0:9464"));

    let prometheus = read("deploy/prometheus/prometheus.yml");
    let targets: Vec<&str> = prometheus.split('"').filter(|text| text.ends_with(":9464")).collect();
    let stages = targets.iter().map(|target| target.trim_end_matches(":9464"));
    assert!(stages.clone().all(is_service), "{targets:?}");
    let weirs = compose.matches("\"--config\", \"/etc/weir/weir.toml\"").count();
    assert_eq!(targets.len(), weirs, "each stage is watched: {targets:?}");
    for file in ["deploy/compose.yaml", "deploy/compose.single.yaml"] {
        let text = read(file);
        let home = text.split_once("HOME_DASHBOARD_PATH: /etc/grafana/weir/").unwrap().1.lines().next().unwrap();
        assert!(root().join("dashboards/json").join(home).is_file(), "{file}: {home}");
        assert!(text.contains("- ../dashboards/json:/etc/grafana/weir:ro\n"), "{file}");
    }
    assert!(read("deploy/prometheus/single.yml").contains("\"weir:9464\""));
    assert!(read("deploy/compose.single.yaml").contains("\n  weir:\n"));

    for (path, text) in below("deploy/kubernetes/base", &[".yaml"]) {
        for port in numbers(&text, "containerPort: ") {
            assert!([1883, 9464].contains(&port), "{}: port {port} is not one of the image", path.display());
        }
    }

    assert!(is_service("fluvio-sc") && read("deploy/weir.toml").contains("endpoint = \"fluvio-sc:9003\""));
    for (number, id) in [(1, 5001), (2, 5002)] {
        let (name, spu) = (format!("fluvio-spu-{number}"), read(&format!("deploy/fluvio/custom-spu-{id}.yaml")));
        assert!(
            is_service(&name) && spu.contains(&format!("host: {name}\n")) && spu.contains(&format!("spuId: {id}\n"))
        );
        assert!(spu.contains(&format!("- hostname: {name}\n")), "{spu}");
        assert_eq!(numbers(&spu, "port: "), [9010, 9011]);
        let command = format!("\"-i\", \"{id}\", \"-p\", \"0.0.0.0:9010\", \"-v\", \"0.0.0.0:9011\"");
        assert!(compose.contains(&command), "{id}");
    }
}

#[test]
fn the_container_of_mosquitto_changes_two_lines_of_its_configuration() {
    let (compose, configuration) = (read("deploy/compose.yaml"), read("deploy/mosquitto.conf"));
    for (option, inside) in [("listener", "1884 0.0.0.0"), ("persistence_location", "/mosquitto/data/")] {
        let lines = configuration.lines().filter(|line| line.split_whitespace().next() == Some(option));
        assert_eq!(lines.count(), 1, "{option}");
        assert!(compose.contains(&format!("'s#^{option} .*#{option} {inside}#'")), "{option}");
    }
    assert_eq!(numbers(&configuration, "\nlistener "), [1884]);
    assert!(compose.contains("WEIR_BRIDGE__URL: mqtt://mosquitto:1884\n"));
    assert!(compose.contains("- mosquitto:/mosquitto/data\n"));
}

#[test]
fn a_stop_has_more_time_than_weir_takes() {
    let shown = succeed(weir().args(["config", "--config"]).arg(root().join("deploy/weir.toml")));
    let deadline = numbers(&String::from_utf8(shown.stdout).unwrap(), "stop_deadline_seconds = ")[0];
    let mut given = Vec::new();
    for file in ["deploy/compose.yaml", "deploy/compose.single.yaml"] {
        // The first is that of weir.
        given.push(numbers(&read(file), "stop_grace_period: ")[0]);
    }
    for (_, text) in below("deploy/systemd", &[".service"]) {
        given.extend(numbers(&text, "TimeoutStopSec="));
    }
    for (_, text) in below("deploy/kubernetes/base", &[".yaml"]) {
        given.extend(numbers(&text, "terminationGracePeriodSeconds: "));
    }
    assert_eq!(given.len(), 8);
    assert!(given.iter().all(|seconds| *seconds >= deadline + 10), "{given:?}, and a stop may take {deadline}");
}

#[test]
fn there_are_as_many_instances_as_shares() {
    for file in ["base/process.yaml", "base/workflows.yaml", "base/sink.yaml", "shared-sink/sink.yaml"] {
        let text = read(&format!("deploy/kubernetes/{file}"));
        let mut replicas = numbers(&text, "replicas: ");
        replicas.extend(numbers(&text, "path: /spec/replicas\n  value: "));
        assert_eq!(replicas, numbers(&text, "--instance=$(POD_INDEX)/"), "{file}");
        assert_eq!(replicas.len(), 1, "{file}");
    }
    let compose = read("deploy/compose.yaml");
    for stage in ["process", "workflows", "sink"] {
        let key = format!("\"{stage}\", \"--instance\", \"");
        let lines: Vec<&str> = compose.lines().filter(|line| line.contains(&key)).collect();
        let shares: BTreeSet<String> =
            (0..lines.len()).map(|index| format!("{key}{index}/{}\"", lines.len())).collect();
        assert!(shares.iter().all(|share| compose.contains(share)), "{lines:?}");
    }
}

#[test]
fn both_units_are_equally_hardened() {
    let hardening = |file: &str| {
        let text = read(file);
        text[text.find("# Sees its own directory").unwrap()..].to_owned()
    };
    assert_eq!(hardening("deploy/systemd/weir.service"), hardening("deploy/systemd/weir@.service"));
}

#[test]
fn images_have_the_version_of_the_binary() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, expected) in [
        ("deploy/Dockerfile", format!("ARG VERSION={version}\n")),
        ("deploy/compose.yaml", format!("image: weir:{version}\n")),
        ("deploy/compose.single.yaml", format!("image: weir:{version}\n")),
        ("deploy/kubernetes/base/kustomization.yaml", format!("newTag: {version}\n")),
    ] {
        assert!(read(file).contains(&expected), "{file}: expected {expected}");
    }
}

#[test]
fn the_image_is_built_with_what_it_needs_and_no_more() {
    let kept: BTreeSet<String> =
        read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    for member in members {
        assert!(kept.contains(member.as_str().unwrap()), "{member} is not in the context of the build");
    }
    assert!(!kept.contains("target") && !kept.contains(".git"));
}
