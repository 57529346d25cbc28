use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

fn entry(device: &str, seq: i64, acknowledged_at: Option<i64>) -> Entry {
    let acknowledged_at = acknowledged_at.map(Timestamp::from_micros);
    Entry { device: device.into(), boot: 1_790_000_000, seq, readings: 5, acknowledged_at }
}

async fn write(path: &Path, entries: &[Entry]) {
    let writer = Writer::open(path).unwrap();
    let sender = writer.sender();
    for entry in entries {
        sender.send(entry.clone()).await.unwrap();
    }
    drop(sender);
    writer.finish().await.unwrap();
}

fn entries(path: &Path) -> Vec<Entry> {
    read(path).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_is_written_is_read_and_a_second_run_continues_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new/ledger.csv");
    let first = [entry("pump-1", 1, Some(1_790_000_001_000_000)), entry("a,\"b", 2, None)];
    write(&path, &first).await;
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        "device,boot,seq,readings,acknowledged_at\npump-1,1790000000,1,5,1790000001000000\n\"a,\"\"b\",1790000000,2,5,\n"
    );
    assert_eq!(entries(&path), first);
    let second = [entry("pump-1", 3, None)];
    write(&path, &second).await;
    assert_eq!(entries(&path), [&first[..], &second[..]].concat());
}

#[tokio::test]
async fn a_ledger_cut_anywhere_is_a_prefix_and_can_be_continued() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.csv");
    let all: Vec<Entry> = (1..=6).map(|seq| entry("pump-1", seq, Some(seq * 1_000_003))).collect();
    write(&path, &all).await;
    let bytes = fs::read(&path).unwrap();
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
        let expected = &all[..whole.saturating_sub(1)];
        assert_eq!(entries(&path), expected, "cut at {cut}");
        if cut % 50 == 0 {
            write(&path, &[entry("next", 1, None)]).await;
            assert_eq!(entries(&path), [expected, &[entry("next", 1, None)]].concat(), "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_long_torn_line_is_cut_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.csv");
    write(&path, &[entry("pump-1", 1, None)]).await;
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(vec![b'x'; 10_000]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(entries(&path), [entry("pump-1", 1, None)]);
}

#[tokio::test]
async fn another_file_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notes.txt");
    for text in ["no line end", "device,boot\n", "a\nb\nc", "device,boot,seq,readings,acknowledged_at,more\n"] {
        fs::write(&path, text).unwrap();
        assert!(matches!(Writer::open(&path), Err(Error::AnotherFile { .. })), "{text}");
        assert!(matches!(read(&path), Err(Error::AnotherFile { .. })), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert!(matches!(Writer::open(folder.path()), Err(Error::Io { .. })));
}

#[tokio::test]
async fn a_ledger_has_one_writer_at_a_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.csv");
    let first = Writer::open(&path).unwrap();
    assert!(matches!(Writer::open(&path), Err(Error::InUse { .. })));
    first.finish().await.unwrap();
    Writer::open(&path).unwrap().finish().await.unwrap();
}

#[test]
fn a_damaged_line_is_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.csv");
    fs::write(&path, format!("{}\na,1,2,3,4\na,1,two,3,4\n", HEADER.join(","))).unwrap();
    let mut reader = read(&path).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().seq, 2);
    let error = reader.next().unwrap().unwrap_err().to_string();
    assert!(error.ends_with("line 3: seq: `two` is no whole number"), "{error}");
}
