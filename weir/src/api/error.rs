//! Errors as a client sees them.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A status and a text for a person.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    text: String,
}

impl ApiError {
    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into() }
    }

    pub(super) fn forbidden(text: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, text: text.into() }
    }

    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, text: text.into() }
    }

    pub(super) fn conflict(text: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, text: text.into() }
    }

    pub(super) fn wrong_method() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, text: "this path takes another method".to_owned() }
    }

    /// Nothing the client did: it may try again, and a person should look at the log.
    pub(super) fn failed(error: &anyhow::Error) -> Self {
        tracing::warn!(error = format!("{error:#}"), "request of the API failed");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, text: format!("{error:#}") }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self { status: rejection.status(), text: rejection.body_text() }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), text: rejection.body_text() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.text }))).into_response()
    }
}
