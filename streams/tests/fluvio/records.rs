//! Many records, and large ones.

use super::*;

/// All payloads of `of` from its beginning, read in steps of `max_bytes`.
pub(super) async fn all(streams: &FluvioStreams, of: &Partition, max_bytes: usize) -> Vec<bytes::Bytes> {
    let (mut all, mut next) = (Vec::new(), streams.bounds(of).unwrap().start);
    while next < streams.bounds(of).unwrap().end {
        let read = streams.read(of, next, max_bytes).await.unwrap();
        assert!(read.next > next, "a read goes on");
        assert_eq!(read.lost, 0);
        next = read.next;
        all.extend(read.records.into_iter().map(|record| record.payload));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn a_million_small_records_are_all_read() {
    const RECORDS: u64 = 1_000_000;
    let config = cluster();
    let (streams, registry) = process(&config, readings(2)).await;
    let clock = SystemClock::shared();
    let started = clock.monotonic();
    let mut tickets = futures::stream::FuturesUnordered::new();
    for first in (0..RECORDS).step_by(500) {
        let group = (first..first + 500).map(|n| append(&partition(u32::from(n % 2 == 1)), n.to_string())).collect();
        tickets.push(streams.submit(group).await.unwrap());
    }
    while let Some(appended) = futures::StreamExt::next(&mut tickets).await {
        appended.unwrap();
    }
    let written = clock.monotonic();
    for index in 0..2 {
        let read = all(&streams, &partition(index), 100_000).await;
        let expected = (u64::from(index)..RECORDS).step_by(2).map(|n| bytes::Bytes::from(n.to_string()));
        assert!(read.into_iter().eq(expected), "every record, in order");
    }
    let done = clock.monotonic();
    println!(
        "append {:?}, read {:?}, batches cut {}, copies {}",
        written - started,
        done - written,
        count(&registry, "weir_fluvio_cut_batches_total"),
        count(&registry, "weir_fluvio_copies_dropped_total")
    );
    assert!(count(&registry, "weir_fluvio_cut_batches_total") > 0.0, "replies were cut in the middle of batches");
    let (reader, _) = process(&config, readings(2)).await;
    for from in [1, 17, 1000, 77_777, 499_999] {
        let read = reader.read(&partition(1), from, 50_000).await.unwrap();
        let expected = (0..).map(|n| ((from + n) * 2 + 1).to_string());
        assert!(!read.records.is_empty());
        assert!(read.records.iter().zip(expected).all(|(record, expected)| record.payload == expected), "from {from}");
    }
    streams.delete_topics().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn records_larger_than_a_reply_are_read() {
    let config = cluster();
    let (streams, registry) = process(&config, readings(1)).await;
    let sizes = [10, 3 << 20, 100, 5 << 20, 16 << 20, 1, 2 << 20];
    for (n, size) in (0..).zip(sizes) {
        let ticket = streams.submit(vec![append(&partition(0), vec![n; size])]).await.unwrap();
        assert_eq!(ticket.await, Ok(vec![u64::from(n)]));
    }
    let refused = streams.submit(vec![append(&partition(0), vec![0; (16 << 20) + 1])]).await;
    assert!(matches!(refused, Err(streams::AppendError::Refused(_))));
    for max_bytes in [1, 1 << 20, usize::MAX] {
        let read = all(&streams, &partition(0), max_bytes).await;
        assert!(read.iter().map(bytes::Bytes::len).eq(sizes));
        assert!((0..).zip(&read).all(|(n, payload): (u8, _)| payload.iter().all(|byte| *byte == n)));
    }
    assert!(count(&registry, "weir_fluvio_cut_batches_total") > 0.0);
    streams.delete_topics().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn a_backlog_is_read_in_small_steps_by_two_groups_at_once() {
    let config = cluster();
    let (streams, _) = process(&config, readings(1)).await;
    let payloads: Vec<bytes::Bytes> = (0..3000_u32).map(|n| vec![n.to_le_bytes()[0]; 20_000].into()).collect();
    let group: Vec<_> = payloads.iter().map(|payload| append(&partition(0), payload.clone())).collect();
    let mut tickets = Vec::new();
    for group in group.chunks(100) {
        tickets.push(streams.submit(group.to_vec()).await.unwrap());
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let (of, max_bytes) = (partition(0), 30_000);
    let (one, other) = tokio::join!(all(&streams, &of, max_bytes), all(&streams, &of, 1));
    assert!(one == payloads && other == payloads);
    streams.delete_topics().await.unwrap();
}
