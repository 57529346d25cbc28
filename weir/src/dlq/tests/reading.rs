//! List and show.

use super::*;

#[tokio::test]
async fn letters_of_both_streams_are_one_list_with_filters() {
    let fixture = Fixture::new().await;
    fixture.publish(3600, None).await;
    fixture.publish_payload(b"no format", None).await;
    fixture.give_up(&[("workflow_step", "workflows/0f/0"), ("rule_error", "rules/hot")]).await;
    assert_eq!(fixture.list(&Filter::default()).await, ["ingest-0-0", "ingest-1-0", "workflow-0-0", "workflow-0-1"]);
    let source = Filter { source: Some(Source::Workflows), ..Filter::default() };
    assert_eq!(fixture.list(&source).await, ["workflow-0-0", "workflow-0-1"]);
    let reason = Filter { reason: Some("future_time".to_owned()), ..Filter::default() };
    assert_eq!(fixture.list(&reason).await, ["ingest-0-0"]);
    let dropped = Filter { state: Some(State::Dropped), ..Filter::default() };
    assert_eq!(fixture.list(&dropped).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_list_comes_in_pages_that_miss_and_repeat_nothing() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.publish(3600, None).await;
    }
    fixture.give_up(&[("workflow_step", "workflows/0f/0"); 4]).await;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let Listing { letters, next } = fixture.dlq.list(&Filter::default(), 2, after).await.unwrap();
        assert!(letters.len() <= 2);
        found.extend(letters.into_iter().map(|letter| letter.id));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 7);
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
}

#[tokio::test]
async fn a_letter_is_shown_with_its_bytes_and_what_the_transport_said() {
    let fixture = Fixture::new().await;
    fixture.publish_payload(&[0xff, 0x00, 0x01], Some(Identity { boot: 3, seq: 9 })).await;
    let letter = fixture.dlq.show(id("ingest-0-0")).await.unwrap().unwrap();
    assert_eq!((letter.text, letter.base64.as_str(), letter.bytes), (None, "/wAB", 3));
    assert_eq!((letter.boot, letter.seq, letter.attempts), (Some(3), Some(9), Some(1)));
    assert_eq!((letter.reason.as_str(), letter.topic.as_str()), ("undecodable", "hall/pump-1/telemetry"));
    assert_eq!((letter.client_id.as_str(), letter.received_at.as_str()), ("pump-1", "2026-07-28T09:00:00.000000Z"));
    assert_eq!((letter.state, letter.redrives, letter.marked_at), (State::Waiting, 0, None));

    fixture.give_up(&[("workflow_step", "workflows/0f/2"), ("workflow_step", "workflows/ff/0")]).await;
    let letter = fixture.dlq.show(id("workflow-0-0")).await.unwrap().unwrap();
    assert_eq!(letter.text.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(letter.attempts, Some(8), "the run knows");
    assert_eq!(fixture.dlq.show(id("workflow-0-1")).await.unwrap().unwrap().attempts, None, "its run is gone");
    for gone in ["workflow-0-2", "workflow-1-0", "ingest-7-0"] {
        assert_eq!(fixture.dlq.show(id(gone)).await.unwrap(), None, "{gone}");
    }
}

#[tokio::test]
async fn letters_that_are_not_retained_any_more_are_not_there() {
    let fixture = Fixture::new().await;
    for _ in 0..4 {
        fixture.publish(3600, None).await;
    }
    fixture.streams.start.store(2, Ordering::SeqCst);
    assert_eq!(fixture.list(&Filter::default()).await, ["ingest-2-0", "ingest-3-0"]);
    let page = fixture.dlq.list(&Filter::default(), 1, Some(id("ingest-0-0"))).await.unwrap();
    assert_eq!(page.letters[0].id, id("ingest-2-0"), "a page goes on where there is something");
    assert_eq!(fixture.dlq.show(id("ingest-1-0")).await.unwrap(), None);
    let changed = fixture.dlq.redrive(named(&["ingest-1-0"])).await.unwrap();
    assert_eq!(errors(&changed), ["ingest-1-0: there is no such letter, or none any more"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let fixture = Fixture::new().await;
    fixture.publish(3600, None).await;
    let to = Partition::new(StreamName::dead_letters(), 0);
    let record = Append::new(to, 1, "no record".into());
    fixture.streams.submit(vec![record]).await.unwrap().await.unwrap();
    fixture.publish(3600, None).await;
    assert_eq!(fixture.list(&Filter::default()).await, ["ingest-0-0", "ingest-2-0"]);
    assert_eq!(fixture.dlq.show(id("ingest-1-0")).await.unwrap(), None);
}
