//! docs/rules.md stays true: its examples load, its lines parse.

use clap::Parser;
use processors::RuleSet;

use crate::cli::Cli;
use crate::config::Config;

const DOCS: &str = include_str!("../../../../docs/rules.md");

/// The fenced blocks of `language`.
fn blocks(language: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in DOCS.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(fence)) => open = Some((fence == language, String::new())),
            (Some(_), Some(_)) => {
                if let Some((true, text)) = open.take() {
                    blocks.push(text);
                }
            }
            (Some((_, text)), None) => text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Words as a shell has them: quotes of one kind hold blanks together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            c => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[test]
fn every_example_of_the_docs_loads() {
    let (examples, settings): (Vec<String>, Vec<String>) =
        blocks("toml").into_iter().partition(|block| block.contains("[[rule]]"));
    assert!(examples.len() >= 7 && !settings.is_empty(), "{} and {}", examples.len(), settings.len());
    for example in &examples {
        let rules = RuleSet::parse(example, "docs/rules.md").unwrap_or_else(|error| panic!("{error}\n{example}"));
        assert!(!rules.rules().is_empty(), "{example}");
    }
    for text in settings {
        toml::from_str::<Config>(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

#[test]
fn every_command_of_the_docs_parses() {
    let lines: Vec<String> = blocks("sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect();
    let lines: Vec<&String> = lines.iter().filter(|line| line.starts_with("weir ")).collect();
    assert!(lines.len() >= 8, "{}", lines.len());
    for line in lines {
        let line = line.split(" #").next().unwrap_or_default();
        if let Err(error) = Cli::try_parse_from(words(line)) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn every_mistake_of_the_docs_is_refused() {
    let mistakes = blocks("toml refused");
    assert!(mistakes.len() >= 2);
    for mistake in mistakes {
        assert!(RuleSet::parse(&mistake, "docs/rules.md").is_err(), "{mistake}");
    }
}

#[test]
fn the_rules_that_come_with_weir_load() {
    for text in [
        include_str!("../../../../processors/rules/demo.toml"),
        include_str!("../../../../processors/rules/machine-temperature.toml"),
        include_str!("../../../../processors/rules/workflows.toml"),
    ] {
        let rules = RuleSet::parse(text, "processors/rules").unwrap_or_else(|error| panic!("{error}"));
        assert!(rules.rules().len() >= 2);
    }
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(words("weir x --reading '{\"a\": 1}'  y"), ["weir", "x", "--reading", "{\"a\": 1}", "y"]);
}
