use super::*;

#[test]
fn texts_are_one_line_and_short() {
    assert_eq!(brief("  a\r\n\tb \u{0}c  "), "a b c");
    let long = brief(&"é".repeat(2000));
    assert_eq!(long.chars().count(), limits::REASON_CHARS);
    assert!(long.ends_with('…'));
    let exact = "x".repeat(limits::REASON_CHARS - 1);
    assert_eq!(brief(&exact), exact);
}
