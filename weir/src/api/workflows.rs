//! `/api/v1/workflows`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use processors::workflows::{Changed, RunDetail, RunFilter, RunPage, RunState, Workflows};
use serde::Deserialize;

use super::ApiState;
use super::error::ApiError;

/// Runs in an answer unless the request says how many.
const RUNS: usize = 100;
/// Runs in an answer at most.
const MOST_RUNS: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    state: Option<RunState>,
    rule: Option<String>,
    device: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// Runs, newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<RunPage>, ApiError> {
    let Query(Parameters { state: wanted, rule, device, limit, after }) = parameters?;
    let limit = limit.unwrap_or(RUNS);
    if !(1..=MOST_RUNS).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit = {limit}: expected a number from 1 to {MOST_RUNS}")));
    }
    let filter = RunFilter { state: wanted, rule, device };
    let page = workflows(&state)?.list(filter, limit, after).await;
    page.map(Json).map_err(|error| ApiError::failed(&error.into()))
}

/// One run.
pub(super) async fn show(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<RunDetail>, ApiError> {
    found(workflows(&state)?, &id).await
}

/// Starts no further step of a run; one that is under way may still be done.
pub(super) async fn cancel(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<RunDetail>, ApiError> {
    let workflows = workflows(&state)?;
    match workflows.cancel(&id).await.map_err(|error| ApiError::failed(&error.into()))? {
        Changed::Yes => found(workflows, &id).await,
        Changed::Unknown => Err(unknown(&id)),
        Changed::Not(state) => {
            Err(ApiError::conflict(format!("run {id} is {}: nothing is left to cancel", state.as_str())))
        }
    }
}

/// Lets a run that waits with a dead letter go on at that step, also where the letter itself is no longer retained.
pub(super) async fn redrive(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<RunDetail>, ApiError> {
    let workflows = workflows(&state)?;
    match workflows.redrive(&id, None).await.map_err(|error| ApiError::failed(&error.into()))? {
        Changed::Yes => {
            workflows.flush().await.map_err(|error| ApiError::failed(&error.into()))?;
            found(workflows, &id).await
        }
        Changed::Unknown => Err(unknown(&id)),
        Changed::Not(state) => {
            Err(ApiError::conflict(format!("run {id} is {}: it does not wait with a dead letter", state.as_str())))
        }
    }
}

async fn found(workflows: &Workflows, id: &str) -> Result<Json<RunDetail>, ApiError> {
    let run = workflows.show(id).await.map_err(|error| ApiError::failed(&error.into()))?;
    run.map(Json).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no run {id}, or none any more"))
}

fn workflows(state: &ApiState) -> Result<&Workflows, ApiError> {
    state.workflows.as_ref().ok_or_else(|| ApiError::conflict("no workflows run in this process"))
}
