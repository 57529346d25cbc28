use std::io::Write;

use super::*;

fn file(content: &[u8]) -> (tempfile::NamedTempFile, Secret) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let secret = Secret::File(file.path().to_str().unwrap().to_owned());
    (file, secret)
}

#[tokio::test]
async fn a_file_is_read_each_time_and_its_last_line_break_is_cut() {
    for (content, expected) in
        [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), ("a\n\n", "a\n")]
    {
        let (_file, secret) = file(content.as_bytes());
        assert_eq!(read(&secret).await.unwrap().reveal(), expected);
    }
    let (kept, secret) = file(b"old");
    assert_eq!(read(&secret).await.unwrap().reveal(), "old");
    std::fs::write(kept.path(), "new").unwrap();
    assert_eq!(read(&secret).await.unwrap().reveal(), "new");
}

#[tokio::test]
async fn what_is_not_there_is_named_and_its_content_is_not() {
    let not_utf8 = file(b"hunter2\xff");
    let large = file(&vec![b'x'; 64 * 1024 + 1]);
    let empty = file(b"\n");
    for (secret, told) in [
        (Secret::Env("WEIR_NO_SUCH_VARIABLE".to_owned()), "env:WEIR_NO_SUCH_VARIABLE`: the variable is not set"),
        (Secret::File("/no/such/file".to_owned()), "file:/no/such/file`: cannot read the file"),
        (Secret::File("/".to_owned()), "not a file"),
        (Secret::File("/dev/zero".to_owned()), "not a file"),
        (not_utf8.1.clone(), "not UTF-8"),
        (large.1.clone(), "more than 65536 bytes"),
        (empty.1.clone(), "is empty"),
    ] {
        let problem = read(&secret).await.unwrap_err();
        assert!(problem.contains(told), "{problem}");
        assert!(!problem.contains("hunter2") && !problem.contains("xxxx"), "{problem}");
    }
}

#[tokio::test]
async fn secrets_in_a_text_are_put_in_and_never_printed() {
    let (_file, place) = file(b"hunter2\n");
    let Secret::File(path) = &place else { unreachable!() };
    let text = format!("Bearer ${{file:{path}}} and ${{env:CARGO_PKG_NAME}} for $5 {{x}}");
    let expanded = expand(&text).await.unwrap();
    assert_eq!(expanded.text.reveal(), "Bearer hunter2 and processors for $5 {x}");
    assert_eq!(expanded.secrets.len(), 2);
    let shown = format!("{expanded:?} {:#?}", expanded.secrets);
    assert!(!shown.contains("hunter2") && shown.contains("hidden"), "{shown}");
    assert!(expand("no secret").await.unwrap().secrets.is_empty());
}

#[test]
fn a_wrong_place_is_told_without_its_text() {
    check("a ${env:B} ${file:/c}").unwrap();
    for wrong in ["${hunter2}", "${env:}", "${file:relative}", "${env:A"] {
        let problem = check(wrong).unwrap_err();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
