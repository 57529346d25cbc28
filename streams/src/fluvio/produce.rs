//! One request that appends one batch to one partition.

use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::{Batch, RawRecords, RecordSet};
use fluvio_spu_schema::Isolation;
use fluvio_spu_schema::produce::{DefaultPartitionRequest, DefaultProduceRequest, DefaultTopicRequest};

use super::bounds::Bounds;
use super::cluster::{Cluster, Place};
use super::connection::Connection;
use super::limits::{TOPIC_ATTEMPTS, pause};
use crate::contract::Error;

/// Why a batch was not appended, or may not have been.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may be there, and may be sent again.
    Unsure(Error),
    /// It will never be taken.
    Never(String),
}

/// Appends `batch` behind all that is in `place`; the offset of its first record once all replicas in step have it. Takes
/// the connection that `connection` holds, or makes one, and leaves it there if it is still of use.
pub(super) async fn produce(
    cluster: &Cluster,
    connection: &mut Option<Connection>,
    place: &Place,
    batch: Batch<RawRecords>,
) -> Result<u64, Refusal> {
    let mut working = match connection.take() {
        Some(connection) => connection,
        None => cluster.leader(place).await.map_err(Refusal::Unsure)?,
    };
    let response = working.call(request(cluster, place, batch), cluster.timeout).await.map_err(Refusal::Unsure)?;
    let Some(answer) = response.find_partition_response(&place.0, place.1) else {
        return Err(Refusal::Unsure(unavailable(place, "a response without the partition")));
    };
    match &answer.error_code {
        ErrorCode::None => {
            let first = u64::try_from(answer.base_offset);
            let first = first.map_err(|_| Refusal::Unsure(unavailable(place, "a response without an offset")))?;
            *connection = Some(working);
            Ok(first)
        }
        code @ (ErrorCode::MessageTooLarge | ErrorCode::PermissionDenied) => {
            Err(Refusal::Never(format!("append to {}/{}: {code}", place.0, place.1)))
        }
        code => Err(Refusal::Unsure(unavailable(place, &code.to_string()))),
    }
}

/// As [`produce`], a few times while the cluster does not answer; what was appended is known to `bounds` afterwards. It
/// may be there twice, and after an error once or not at all.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn produce_again(
    cluster: &Cluster,
    bounds: &Bounds,
    connection: &mut Option<Connection>,
    place: &Place,
    batch: Batch<RawRecords>,
) -> Result<u64, Error> {
    let mut attempt = 1;
    loop {
        match produce(cluster, connection, place, batch.clone()).await {
            Ok(offset) => {
                bounds.raise(place, offset + 1);
                return Ok(offset);
            }
            Err(Refusal::Never(why)) => return Err(Error::Unavailable(why)),
            Err(Refusal::Unsure(error)) if attempt >= TOPIC_ATTEMPTS => return Err(error),
            Err(Refusal::Unsure(_)) => {
                cluster.doubt().await;
                tokio::time::sleep(pause(u64::from(place.1), attempt)).await;
                attempt += 1;
            }
        }
    }
}

fn request(cluster: &Cluster, place: &Place, batch: Batch<RawRecords>) -> DefaultProduceRequest {
    let records = RecordSet::default().add(batch);
    let partition = DefaultPartitionRequest { partition_index: place.1, records };
    let topic = DefaultTopicRequest {
        name: place.0.to_string(),
        partitions: vec![partition],
        ..DefaultTopicRequest::default()
    };
    DefaultProduceRequest {
        isolation: Isolation::ReadCommitted,
        // The server shall give up first: it then says why.
        timeout: cluster.timeout * 4 / 5,
        topics: vec![topic],
        ..DefaultProduceRequest::default()
    }
}

fn unavailable(place: &Place, why: &str) -> Error {
    Error::Unavailable(format!("fluvio: append to {}/{}: {why}", place.0, place.1))
}
