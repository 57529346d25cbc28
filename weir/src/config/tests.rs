use super::*;

const DOCUMENTED: &str = include_str!("../../../config/weir.toml");

fn from(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn the_documented_file_holds_every_option_with_its_default() {
    let documented: toml::Table = DOCUMENTED.parse().unwrap();
    let defaults: toml::Table = Config::default().to_toml().unwrap().parse().unwrap();
    assert_eq!(documented, defaults);
}

#[test]
fn every_option_of_the_documented_file_is_explained() {
    let mut comment = false;
    for line in DOCUMENTED.lines() {
        assert!(!line.contains(" = ") || line.starts_with('#') || comment, "no comment above `{line}`");
        comment = line.starts_with('#');
    }
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = format!("{:#}", from("[sink]\nroll_row = 5\n", &[]).unwrap_err());
    assert!(error.contains("roll_row") && error.contains("roll_rows"), "{error}");
    let error = format!("{:#}", from("", &[("WEIR_SINK__ROLL_ROW", "5")]).unwrap_err());
    assert!(error.contains("roll_row"), "{error}");
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = [
        ("WEIR_SINK__ROLL_ROWS", "7"),
        ("WEIR_DATA__DIR", "/tmp/x"),
        ("WEIR_MQTT__LISTEN", "127.0.0.1:9"),
        ("HOME", "/"),
    ];
    let config = from("[sink]\nroll_rows = 5\n", &environment).unwrap();
    assert_eq!(config.sink.roll_rows, 7);
    assert_eq!(config.data.dir, PathBuf::from("/tmp/x"));
    assert_eq!(config.mqtt.listen.port(), 9);
}

#[test]
fn a_value_out_of_bounds_names_the_option_and_the_bounds() {
    for (text, expected) in [
        ("[streams]\npartitions = 0\n", "streams.partitions = 0: expected a number from 1 to 1024"),
        ("[sink]\nroll_age_seconds = 0.0\n", "sink.roll_age_seconds = 0: expected seconds"),
        ("[streams]\nquota_bytes = 1\n", "streams.quota_bytes = 1: expected at least two segments"),
        ("[streams]\nemit = [\"readings\"]\n", "streams.emit has `readings`: expected names"),
        ("[streams]\nemit = [\"_a\"]\n", "streams.emit has `_a`"),
        ("[workflows]\nbreaker_longest_open_seconds = 1.0\n", "expected seconds from 5 to"),
        ("[mqtt]\nlisten = \"nowhere\"\n", "listen"),
    ] {
        let error = format!("{:#}", from(text, &[]).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}
