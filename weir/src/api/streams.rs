//! `/api/v1/streams`: what the streams hold and how far groups have come.

mod rows;
pub(crate) mod view;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use streams::Error;

use self::view::{From, Groups, Page, Partitions};
use super::ApiState;
use super::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    partition: u32,
    from: From,
    limit: Option<usize>,
}

/// All partitions.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Json<Partitions>, ApiError> {
    view::partitions(state.streams.as_ref()).map(Json).map_err(|error| ApiError::failed(&error))
}

/// Where every group stands.
pub(super) async fn groups(State(state): State<ApiState>) -> Result<Json<Groups>, ApiError> {
    view::groups(state.streams.as_ref()).await.map(Json).map_err(|error| ApiError::failed(&error))
}

/// Rows of one partition, from a place on.
pub(super) async fn tail(
    State(state): State<ApiState>,
    Path(stream): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Page>, ApiError> {
    let Query(Parameters { partition, from, limit }) = parameters?;
    let limit = limit.unwrap_or(view::PAGE_ROWS);
    if !(1..=view::PAGE_ROWS).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit = {limit}: expected a number from 1 to {}", view::PAGE_ROWS)));
    }
    match view::page(state.streams.as_ref(), &stream, partition, from, limit).await {
        Ok(page) => Ok(Json(page)),
        Err(error) => match error.downcast_ref::<Error>() {
            Some(Error::UnknownPartition(_)) => Err(ApiError::not_found(format!("{error:#}"))),
            Some(Error::OutOfRange { .. }) => Err(ApiError::bad_request(format!("{error:#}"))),
            _ => Err(ApiError::failed(&error)),
        },
    }
}
