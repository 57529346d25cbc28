//! Records under way while the cluster is troubled from outside: kill its servers, pause them, restart the controller.

use std::time::Duration;

use super::*;

/// Records that one writer has under way.
const UNDER_WAY: usize = 64;
const PARTITIONS: u32 = 2;

/// Runs for WEIR_FLUVIO_SECONDS, 10 if it is not set; whoever troubles the cluster does it meanwhile, and leaves it
/// whole.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
async fn what_was_acknowledged_is_read_once_and_in_order() {
    let seconds = std::env::var("WEIR_FLUVIO_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let config = cluster();
    let (writes, written) = process(&config, readings(PARTITIONS)).await;
    let (reads, read) = process(&config, readings(PARTITIONS)).await;
    let during = Duration::from_secs(seconds);
    let writers: Vec<_> =
        (0..PARTITIONS).map(|index| tokio::spawn(write(writes.clone(), partition(index), during))).collect();
    let (stop, stopped) = tokio::sync::watch::channel([None; PARTITIONS as usize]);
    let readers: Vec<_> =
        (0..PARTITIONS).map(|index| tokio::spawn(follow(reads.clone(), partition(index), stopped.clone()))).collect();
    let mut counts = [None; PARTITIONS as usize];
    for (count, writer) in counts.iter_mut().zip(writers) {
        let (records, mut latencies) = writer.await.unwrap();
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        println!("{records} records acknowledged, p50 {:?}, p99 {:?}, longest {:?}", at(50), at(99), at(100));
        *count = Some(records);
    }
    stop.send(counts).unwrap();
    for (reader, count) in readers.into_iter().zip(counts) {
        assert_eq!(reader.await.unwrap(), count.unwrap(), "records read by who followed");
    }
    let (again, _) = process(&config, readings(PARTITIONS)).await;
    for (index, count) in (0..).zip(counts) {
        let all = records::all(&again, &partition(index), 1 << 20).await;
        assert!(
            all.into_iter().eq((0..count.unwrap()).map(payload)),
            "records read afterwards, each once and in order"
        );
    }
    for (who, registry) in [("writer", &written), ("reader", &read)] {
        for name in
            ["resends_total", "rebuilds_total", "copies_dropped_total", "missing_records_total", "went_back_total"]
        {
            println!("{who} {name}: {}", count(registry, &format!("weir_fluvio_{name}")));
        }
    }
    assert_eq!(count(&read, "weir_fluvio_missing_records_total"), 0.0);
    again.delete_topics().await.unwrap();
}

/// Appends numbers `during` that time; how many, and how long each took.
async fn write(streams: Arc<FluvioStreams>, to: Partition, during: Duration) -> (u64, Vec<Duration>) {
    let clock = SystemClock::shared();
    let end = clock.monotonic() + during;
    let (mut under_way, mut latencies, mut next) = (std::collections::VecDeque::new(), Vec::new(), 0);
    while clock.monotonic() < end || !under_way.is_empty() {
        if clock.monotonic() < end && under_way.len() < UNDER_WAY {
            let since = clock.monotonic();
            under_way.push_back((since, streams.submit(vec![append(&to, payload(next))]).await.unwrap()));
            next += 1;
            continue;
        }
        if let Some((since, ticket)) = under_way.pop_front() {
            ticket.await.unwrap();
            latencies.push(clock.monotonic() - since);
        }
        if next % 16 == 0 {
            // Some thousand records a second are load enough, and can be read again afterwards.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    (next, latencies)
}

/// Reads what is appended as it comes, until it has as many records as `stop` says; checks each.
async fn follow(
    streams: Arc<FluvioStreams>,
    from: Partition,
    mut stop: tokio::sync::watch::Receiver<[Option<u64>; PARTITIONS as usize]>,
) -> u64 {
    let (mut next, mut count) = (0, 0);
    let mut appended = streams.appended();
    loop {
        appended.borrow_and_update();
        let expected = stop.borrow_and_update()[usize::try_from(from.index).unwrap()];
        let read = streams.read(&from, next, 1 << 20).await.unwrap();
        assert_eq!(read.lost, 0);
        for record in &read.records {
            assert_eq!(record.payload, payload(count), "at offset {} of {from}", record.offset);
            count += 1;
        }
        if read.next == next {
            if expected.is_some_and(|expected| count >= expected) {
                return count;
            }
            tokio::select! {
                _ = appended.changed() => {}
                _ = stop.changed(), if expected.is_none() => {}
            }
        }
        next = read.next;
    }
}

fn payload(number: u64) -> bytes::Bytes {
    format!("{number:>200}").into()
}
