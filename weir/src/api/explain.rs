//! `/api/v1/explain`: the way of one message.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use telemetry::clock::SystemClock;
use telemetry::limits::DEVICE_ID_BYTES;
use tokio::sync::Semaphore;

use super::ApiState;
use super::error::ApiError;
use crate::explain::view::{Explanation, Who};
use crate::explain::{self, Bounds, Runs, Sources, Tables};

/// One at a time: it reads what may be gigabytes.
static PLACE: Semaphore = Semaphore::const_new(1);
/// How long to wait for the one before. With what that one and this one may take, less than a connection lasts.
const WAIT: Duration = Duration::from_secs(25);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    device: String,
    boot: i64,
    seq: i64,
}

/// All that is known of a message.
pub(super) async fn explain(
    State(state): State<ApiState>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Explanation>, ApiError> {
    let Query(Parameters { device, boot, seq }) = parameters?;
    if !(1..=DEVICE_ID_BYTES).contains(&device.len()) {
        return Err(ApiError::bad_request(format!("device: expected 1 to {DEVICE_ID_BYTES} bytes")));
    }
    let Ok(Ok(_place)) = tokio::time::timeout(WAIT, PLACE.acquire()).await else {
        return Err(ApiError::conflict("another message is being explained: ask again"));
    };
    let runs = match state.workflows {
        Some(workflows) => Runs::Running(workflows),
        None => Runs::Elsewhere("no workflows run in this process: ask one of `weir workflows`".to_owned()),
    };
    let sources = Sources {
        streams: state.streams,
        tables: Tables::of_data(&state.data),
        runs,
        letters: state.dlq,
        clock: SystemClock::shared(),
    };
    let explained = explain::explain(&sources, Who { device, boot, seq }, Bounds::REQUEST).await;
    explained.map(Json).map_err(|error| ApiError::failed(&error))
}
