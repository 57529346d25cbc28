//! `/api/v1/snapshot`.

use axum::Json;
use axum::extract::State;

use super::ApiState;
use crate::snapshot::Snapshot;

/// The process now.
pub(super) async fn show(State(state): State<ApiState>) -> Json<Snapshot> {
    Json(state.snapshot.snapshot().await)
}
