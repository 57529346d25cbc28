//! Redrive and drop.

use super::*;

#[tokio::test]
async fn what_was_refused_goes_back_once_its_time_has_come() {
    let fixture = Fixture::new().await;
    let identity = Some(Identity { boot: 1, seq: 5 });
    fixture.publish(3600, identity).await;
    assert_eq!(fixture.readings().await, 0);
    // Still too early: refused again, and a letter of its own.
    let changed = fixture.dlq.redrive(named(&["ingest-0-0"])).await.unwrap();
    assert_eq!((changed.done, changed.refused), (1, vec![id("ingest-0-0")]));
    assert_eq!(fixture.waiting().await, ["ingest-1-0"]);
    let again = fixture.dlq.show(id("ingest-1-0")).await.unwrap().unwrap();
    assert_eq!((again.boot, again.seq), (Some(1), Some(5)), "with the same identity");
    assert_eq!(fixture.readings().await, 0);

    fixture.clock.advance(Duration::from_secs(3600));
    let changed = fixture.dlq.redrive(named(&["ingest-1-0"])).await.unwrap();
    assert_eq!((changed.done, changed.refused, changed.failed), (1, vec![], vec![]));
    assert_eq!(fixture.readings().await, 1, "it is durable when the answer comes");
    assert_eq!(fixture.waiting().await, Vec::<String>::new());
    let letter = fixture.dlq.show(id("ingest-1-0")).await.unwrap().unwrap();
    assert_eq!((letter.state, letter.redrives, letter.attempts), (State::Redriven, 1, Some(2)));
    assert_eq!(letter.marked_at.as_deref(), Some("2026-07-28T10:00:00.000000Z"));
}

#[tokio::test]
async fn a_letter_is_put_back_twice_only_on_demand() {
    let fixture = Fixture::new().await;
    fixture.publish(3600, Some(Identity { boot: 1, seq: 5 })).await;
    fixture.clock.advance(Duration::from_secs(3600));
    fixture.dlq.redrive(named(&["ingest-0-0"])).await.unwrap();
    let changed = fixture.dlq.redrive(named(&["ingest-0-0"])).await.unwrap();
    assert!(errors(&changed)[0].starts_with("ingest-0-0: redriven at 2026-07-28T10:00"), "{changed:?}");
    assert_eq!(fixture.readings().await, 1);
    let changed = fixture.dlq.redrive(Change { again: true, ..named(&["ingest-0-0"]) }).await.unwrap();
    assert_eq!((changed.done, fixture.readings().await), (1, 2), "consumers know the message by its identity");
    let letter = fixture.dlq.show(id("ingest-0-0")).await.unwrap().unwrap();
    assert_eq!((letter.redrives, letter.attempts), (2, Some(3)));
}

#[tokio::test]
async fn workflows_are_asked_for_the_step_and_what_they_refuse_still_waits() {
    let fixture = Fixture::new().await;
    let letters = [
        ("workflow_step", "workflows/0f/2"),
        ("workflow_backlog", "workflows/aa/admit"),
        ("rule_error", "rules/hot"),
        ("workflow_step", "workflows/ee/0"),
        ("workflow_step", "nonsense"),
    ];
    fixture.give_up(&letters).await;
    fixture.runs.refusals.lock().unwrap().insert("ee".to_owned(), "run ee is cancelled".to_owned());
    let changed = fixture.dlq.redrive(all()).await.unwrap();
    assert_eq!(fixture.runs.take(), ["redrive 0f/2 of 0", r#"admit {"a":1}"#, "redrive ee/0 of 0"]);
    assert_eq!((changed.done, changed.next), (2, None));
    let errors = errors(&changed);
    assert!(errors[0].starts_with("workflow-0-2: a rule that failed on a reading is not tried again"), "{errors:?}");
    assert_eq!(errors[1], "workflow-0-3: run ee is cancelled");
    assert_eq!(errors[2], "workflow-0-4: topic nonsense names no step of a run");
    assert_eq!(fixture.waiting().await, ["workflow-0-2", "workflow-0-3", "workflow-0-4"]);
}

#[tokio::test]
async fn dropped_letters_are_gone_from_the_list_and_end_their_runs() {
    let mut fixture = Fixture::new().await;
    fixture.publish(3600, None).await;
    fixture.publish(3600, None).await;
    fixture.give_up(&[("workflow_step", "workflows/0f/2"), ("workflow_backlog", "workflows/aa/admit")]).await;
    let changed = fixture.dlq.drop_letters(named(&["ingest-1-0", "workflow-0-0", "workflow-0-1"])).await.unwrap();
    assert_eq!((changed.done, changed.failed), (3, vec![]));
    assert_eq!(fixture.runs.take(), ["give up 0f/2 of 0"], "a firing that was not taken has no run");
    assert_eq!(fixture.waiting().await, ["ingest-0-0"]);
    fixture.reopen();
    assert_eq!(fixture.waiting().await, ["ingest-0-0"], "after a restart too");
    assert_eq!(fixture.state("workflow-0-0").await, State::Dropped);
    let changed = fixture.dlq.redrive(named(&["ingest-1-0"])).await.unwrap();
    assert!(errors(&changed)[0].contains("dropped at 2026-07-28T09:00"), "{changed:?}");
    assert_eq!(fixture.readings().await, 0);
}

#[tokio::test]
async fn what_was_redriven_cannot_be_dropped_any_more() {
    let fixture = Fixture::new().await;
    fixture.give_up(&[("workflow_step", "workflows/0f/2")]).await;
    fixture.dlq.redrive(named(&["workflow-0-0"])).await.unwrap();
    let changed = fixture.dlq.drop_letters(named(&["workflow-0-0"])).await.unwrap();
    assert!(errors(&changed)[0].contains("there is nothing left to drop"), "{changed:?}");
    assert_eq!(fixture.runs.take(), ["redrive 0f/2 of 0"], "the run that goes on is left alone");
}

#[tokio::test]
async fn all_ends_although_each_letter_is_refused_again() {
    let fixture = Fixture::new().await;
    for _ in 0..5 {
        fixture.publish(3600, None).await;
    }
    fixture.give_up(&[("workflow_step", "workflows/0f/0")]).await;
    let only = Change { reason: Some("future_time".to_owned()), ..all() };
    let changed = fixture.dlq.redrive(only.clone()).await.unwrap();
    assert_eq!((changed.done, changed.refused.len(), changed.next), (5, 5, None));
    assert_eq!(fixture.runs.take(), Vec::<String>::new(), "the filter holds");
    assert_eq!(fixture.waiting().await.len(), 5 + 1, "new letters of them, and the one not chosen");
    // The bound of the first request leaves the new ones alone.
    let bounded = Change { until: changed.until, ..only };
    let changed = fixture.dlq.redrive(bounded).await.unwrap();
    assert_eq!(changed.done, 0);
}

#[tokio::test]
async fn all_of_more_than_a_page_comes_in_pages() {
    let fixture = Fixture::new().await;
    let letters = vec![("workflow_backlog", "workflows/aa/admit"); PAGE_LETTERS];
    fixture.give_up(&letters).await;
    fixture.give_up(&letters[..10]).await;
    let first = fixture.dlq.redrive(all()).await.unwrap();
    assert_eq!((first.done, first.next), (PAGE_LETTERS, Some(id("workflow-0-999"))));
    fixture.give_up(&letters[..3]).await;
    let rest = Change { after: first.next, until: first.until, ..all() };
    let second = fixture.dlq.redrive(rest).await.unwrap();
    assert_eq!((second.done, second.next), (10, None), "what came meanwhile is not meant");
    assert_eq!(fixture.waiting().await.len(), 3);
}

#[tokio::test]
async fn failures_do_not_hold_up_the_pages_of_all() {
    let fixture = Fixture::new().await;
    fixture.give_up(&vec![("rule_error", "rules/hot"); PAGE_LETTERS + 5]).await;
    let first = fixture.dlq.redrive(all()).await.unwrap();
    assert_eq!((first.done, first.failed.len()), (0, PAGE_LETTERS));
    let rest = Change { after: first.next, until: first.until, ..all() };
    let second = fixture.dlq.redrive(rest).await.unwrap();
    assert_eq!((second.failed.len(), second.next), (5, None));
}

#[tokio::test]
async fn a_kill_before_the_mark_puts_it_back_again_with_the_same_identity() {
    let mut fixture = Fixture::new().await;
    fixture.publish(3600, Some(Identity { boot: 1, seq: 5 })).await;
    fixture.clock.advance(Duration::from_secs(3600));
    fixture.dlq.redrive(named(&["ingest-0-0"])).await.unwrap();
    // The mark never got to the disk.
    std::fs::remove_file(fixture.dir.path().join("dlq.redb")).unwrap();
    fixture.reopen();
    assert_eq!(fixture.waiting().await, ["ingest-0-0"]);
    assert_eq!(fixture.dlq.redrive(all()).await.unwrap().done, 1);
    let partition = Partition::new(StreamName::readings(), 0);
    let read = fixture.streams.read(&partition, 0, usize::MAX).await.unwrap();
    let mut decoder = telemetry::ipc::Decoder::new(schema::readings_stream()).unwrap();
    let identities: Vec<_> = read
        .records
        .into_iter()
        .flat_map(|record| {
            use arrow::array::AsArray;
            use arrow::datatypes::Int64Type;
            let batch = decoder.decode(record.payload).unwrap();
            let column = |index| batch.column(index).as_primitive::<Int64Type>().values().to_vec();
            column(schema::reading::BOOT).into_iter().zip(column(schema::reading::SEQ)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(identities, [(1, 5), (1, 5)], "consumers count it once");
}

#[tokio::test]
async fn a_closed_intake_leaves_the_letter_waiting() {
    let fixture = Fixture::new().await;
    fixture.publish(3600, None).await;
    let Fixture { ingest, dlq, .. } = fixture;
    ingest.stop().await.unwrap();
    let changed = dlq.redrive(all()).await.unwrap();
    assert_eq!(errors(&changed), ["ingest-0-0: intake is closed"]);
    assert_eq!(dlq.show(id("ingest-0-0")).await.unwrap().unwrap().state, State::Waiting);
}

#[test]
fn a_change_that_asks_for_nothing_or_too_much_names_the_field() {
    let error = |change: Change| change.check().unwrap_err().to_string();
    assert!(error(Change::default()).contains("ids is empty"));
    assert!(error(Change { all: true, ..named(&["ingest-0-0"]) }).contains("exclude"));
    assert!(error(Change { ids: vec![id("ingest-0-0"); PAGE_LETTERS + 1], ..Change::default() }).contains("1001"));
    assert!(error(Change { reason: Some("x".to_owned()), ..named(&["ingest-0-0"]) }).contains("all = true"));
    assert!(error(Change { again: true, ..all() }).contains("again needs ids"));
    named(&["ingest-0-0"]).check().unwrap();
    all().check().unwrap();
}
