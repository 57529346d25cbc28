//! Dead letters that go in again.

use ingest::Incoming;
use streams::AppendError;
use telemetry::{Identity, Timestamp};

use crate::door::{Door, Letter, config};
use crate::gate::Gate;
use crate::raw::{Raw, Version, puback, publish, user_property};

const TOPIC: &str = "hall/pump/telemetry";
const RECEIVED_AT: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn incoming(letter: &Letter) -> Incoming<'_> {
    let identity = letter.identity.map(|(boot, seq)| Identity { boot, seq });
    let Letter { topic, payload, client_id, .. } = letter;
    Incoming { topic, payload, identity, client_id, traceparent: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_keeps_the_identity_of_the_transport() {
    let door = Door::open().await;
    let mut client = Raw::connect(door.address(), Version::V5, "c").await;
    let identity = [user_property("boot", "4"), user_property("seq", "44")].concat();
    // Refused for its time, which is in the year 2286.
    let future = br#"[{"n":"temperature","v":1,"t":9999999999}]"#;
    client.send(&publish(Version::V5, TOPIC, 1, 1, &identity, future)).await;
    client.send(&publish(Version::V5, TOPIC, 1, 2, &[], future)).await;
    client.expect(&puback(1)).await;
    client.expect(&puback(2)).await;
    let letters = door.letters().await;
    assert_eq!((letters[0].identity, letters[1].identity), (Some((4, 44)), None));

    let receipt = door.ingest.intake().put_back(&incoming(&letters[0]), RECEIVED_AT).await.unwrap();
    assert!(receipt.is_refused());
    let again = Letter { detail: letters[0].detail.clone(), ..door.letters().await[2].clone() };
    assert_eq!(again, letters[0], "refused again, it is a letter as it was");
    door.ingest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_back_is_durable_when_that_returns() {
    let door = Door::with(config(), Gate::closed()).await;
    let letter = Letter {
        reason: "future_time".to_owned(),
        detail: String::new(),
        topic: TOPIC.to_owned(),
        client_id: "c".to_owned(),
        payload: br#"[{"n":"temperature","v":1},{"n":"pressure","v":2}]"#.to_vec(),
        identity: Some((4, 44)),
    };
    let intake = door.ingest.intake();
    let putting = tokio::spawn({
        let (intake, letter) = (intake.clone(), letter.clone());
        async move { intake.put_back(&incoming(&letter), RECEIVED_AT).await }
    });
    door.gate.submitted(1).await;
    assert!(!putting.is_finished());
    door.gate.let_through(true);
    let receipt = putting.await.unwrap().unwrap();
    assert_eq!((receipt.readings, receipt.is_refused()), (2, false));
    let rows = door.rows().await;
    assert_eq!((rows[0].boot, rows[0].seq, rows.len()), (Some(4), Some(44), 2));

    let broken = AppendError::Failed("no such disk".to_owned());
    door.gate.refuse(Some(broken));
    assert!(intake.put_back(&incoming(&letter), RECEIVED_AT).await.is_err());
    assert!(door.ingest.stop().await.is_err());
    assert!(intake.put_back(&incoming(&letter), RECEIVED_AT).await.is_err());
}
