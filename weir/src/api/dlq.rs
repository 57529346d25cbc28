//! `/api/v1/dlq`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::ApiState;
use super::error::ApiError;
use crate::dlq::view::{Change, Changed, Detail, Filter, LetterId, Listing, Source, State as LetterState};
use crate::dlq::{Dlq, PAGE_LETTERS};

/// Letters in an answer unless the request says how many.
const LETTERS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    source: Option<Source>,
    reason: Option<String>,
    state: Option<LetterState>,
    limit: Option<usize>,
    after: Option<LetterId>,
}

/// Letters, oldest first; of every state unless `state` is given.
pub(super) async fn list(
    State(state): State<ApiState>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Listing>, ApiError> {
    let Query(Parameters { source, reason, state: wanted, limit, after }) = parameters?;
    let limit = limit.unwrap_or(LETTERS);
    if !(1..=PAGE_LETTERS).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit = {limit}: expected a number from 1 to {PAGE_LETTERS}")));
    }
    let dlq = dlq(&state, source)?;
    let filter = Filter { source, reason, state: wanted };
    let listing = dlq.list(&filter, limit, after).await;
    listing.map(Json).map_err(|error| ApiError::failed(&error))
}

/// One letter, with its bytes.
pub(super) async fn show(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<Detail>, ApiError> {
    let id: LetterId = id.parse().map_err(ApiError::bad_request)?;
    match dlq(&state, Some(id.source))?.show(id).await {
        Ok(Some(letter)) => Ok(Json(letter)),
        Ok(None) => Err(ApiError::not_found(format!("there is no letter {id}, or none any more"))),
        Err(error) => Err(ApiError::failed(&error)),
    }
}

/// Puts letters back.
pub(super) async fn redrive(
    State(state): State<ApiState>,
    change: Result<Json<Change>, JsonRejection>,
) -> Result<Json<Changed>, ApiError> {
    let change = checked(change)?;
    let changed = dlq(&state, change.source)?.redrive(change).await;
    changed.map(Json).map_err(|error| ApiError::failed(&error))
}

/// Takes letters off the list.
pub(super) async fn drop_letters(
    State(state): State<ApiState>,
    change: Result<Json<Change>, JsonRejection>,
) -> Result<Json<Changed>, ApiError> {
    let change = checked(change)?;
    let changed = dlq(&state, change.source)?.drop_letters(change).await;
    changed.map(Json).map_err(|error| ApiError::failed(&error))
}

/// The letters, if there are any here, and those of `source` if it is given.
fn dlq(state: &ApiState, source: Option<Source>) -> Result<&Dlq, ApiError> {
    let dlq = state.dlq.as_ref().ok_or_else(|| {
        ApiError::not_found(
            "there are no dead letters in this process: ask one of `weir ingest` or `weir workflows`, by --http",
        )
    })?;
    source.map_or(Ok(()), |source| dlq.check_source(source)).map_err(ApiError::not_found)?;
    Ok(dlq)
}

fn checked(change: Result<Json<Change>, JsonRejection>) -> Result<Change, ApiError> {
    let Json(change) = change?;
    change.check().map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(change)
}
