use std::sync::Mutex;

use super::*;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Span>>);

impl Spans for Kept {
    fn take(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }

    fn contexts_left_out(&self, _count: usize) {}
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn identity(seq: i64) -> Option<Identity> {
    Some(Identity { boot: 1, seq })
}

#[test]
fn a_traceparent_is_read_and_written() {
    let context = Context::parse(TRACEPARENT).unwrap();
    assert_eq!(context.trace, TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
    assert_eq!(context.span, SpanId(0x00f0_67aa_0ba9_02b7));
    assert_eq!(context.to_string(), TRACEPARENT);
    // Other flags, and what later versions may add.
    let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what the future brings";
    assert_eq!(Context::parse(later), Some(context));
}

#[test]
fn what_is_no_sampled_traceparent_is_none() {
    let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
    let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
    let wrong = [
        "",
        "00",
        &zero_trace,
        &zero_span,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
    ];
    for text in wrong {
        assert_eq!(Context::parse(text), None, "{text}");
    }
    for length in 0..TRACEPARENT.len() {
        assert_eq!(Context::parse(&TRACEPARENT[..length]), None, "cut at {length}");
    }
}

#[test]
fn off_nothing_has_a_trace() {
    let off = Tracing::default();
    assert!(!off.is_on());
    assert_eq!(off.receive("a", identity(1), at(1), Some(TRACEPARENT)), None);
    assert_eq!(off.root(), None);
}

#[test]
fn a_message_has_the_trace_it_brings_and_a_span_of_its_own() {
    let tracing = Tracing::new(Arc::new(Kept::default()), 0.0);
    let device = Context::parse(TRACEPARENT).unwrap();
    let received = tracing.receive("a", identity(1), at(1), Some(TRACEPARENT)).unwrap();
    assert_eq!((received.context.trace, received.parent), (device.trace, Some(device.span)));
    assert_ne!(received.context.span, device.span);
    assert_eq!(tracing.receive("a", identity(1), at(1), None), None);
    assert_eq!(tracing.receive("a", identity(1), at(1), Some("nonsense")), None);
}

#[test]
fn the_share_is_drawn_by_identity() {
    let tracing = Tracing::new(Arc::new(Kept::default()), 0.1);
    let drawn = |seq| tracing.receive("pump", identity(seq), at(seq), None).map(|received| received.context.trace);
    let sampled = (0..100_000).filter(|seq| drawn(*seq).is_some()).count();
    assert!((9_500..10_500).contains(&sampled), "{sampled} of 100,000");
    // A resend that comes later has the same fate and the same trace, and so in another process.
    let other = Tracing::new(Arc::new(Kept::default()), 0.1);
    for seq in 0..1_000 {
        let again = other.receive("pump", identity(seq), at(seq + 9), None).map(|received| received.context.trace);
        assert_eq!(again, drawn(seq));
    }
    let all = Tracing::new(Arc::new(Kept::default()), 1.0);
    assert!((0..1_000).all(|micros| all.receive("pump", None, at(micros), None).is_some()));
    assert_ne!(trace_of("pump", None, at(1)), trace_of("pump", None, at(2)));
}

#[test]
fn spans_differ_and_are_handed_over_with_what_is_said_of_them() {
    let kept = Arc::new(Kept::default());
    let tracing = Tracing::new(kept.clone(), 0.0);
    let (root, other) = (tracing.root().unwrap(), tracing.root().unwrap());
    let child = tracing.child(root).unwrap();
    assert_ne!(root.trace, other.trace);
    assert_eq!(child.trace, root.trace);
    assert_ne!(child.span, root.span);
    let links = (0..100).map(|_| other);
    let span = Span::new("rules", SpanKind::Consumer, child, at(1), at(2));
    tracing.ended(span.within(Some(root.span)).linked(links).with("messaging.system", "weir").with("rows", 3));
    let kept = kept.0.lock().unwrap();
    let [span] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((span.parent, span.links.len()), (Some(root.span), MOST_CONTEXTS));
    assert_eq!(span.attributes, [("messaging.system", "weir".into()), ("rows", 3.into())]);
}
