//! What a client is told when it is refused: the shape of OpenAI's errors, with the fields that llama-server adds.
use crate::settings::values::Bytes;
use archond_actors::house::SubmitError;
use archond_actors::memory::MemoryError;
use archond_actors::pool::PoolError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Seconds after which a refused client may try again: about one short answer of a small model.
const RETRY_AFTER_SECONDS: u64 = 2;

/// A refusal.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) param: Option<String>,
    pub(super) message: String,
    /// Prompt length and what fits, as llama-server tells them.
    prompt: Option<(u32, u32)>,
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, kind, code: None, param: None, message, prompt: None, retry_after: None }
    }

    /// The request is wrong in this field.
    pub(super) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        Self { param: Some(param.into()), ..error }
    }

    /// The request is wrong as a whole.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// There is no such model.
    pub(super) fn no_model(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Self { param: Some("model".into()), code: Some("model_not_found"), ..error }
    }

    /// The key is missing or wrong.
    pub(super) fn no_key() -> Self {
        let message = "the API key is missing or wrong; send it as `Authorization: Bearer KEY`";
        let error = Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message);
        Self { code: Some("invalid_api_key"), ..error }
    }

    /// Asked from a place that is not allowed.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// There is nothing at this path.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", "there is no such endpoint")
    }

    /// The path is right, the method is not.
    pub(super) fn wrong_method() -> Self {
        let message = "this endpoint does not know the method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
    }

    /// The body is larger than allowed.
    pub(super) fn too_large(bytes_max: u64) -> Self {
        let message = format!("the request has more than {}; see `gateway.body_max`", Bytes(bytes_max));
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    /// The body did not come in time.
    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "the request did not come in time")
    }

    /// Too much is asked at once.
    pub(super) fn overloaded(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        Self { code: Some("rate_limit_exceeded"), retry_after: Some(RETRY_AFTER_SECONDS), ..error }
    }

    /// It cannot be done now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", message);
        Self { retry_after: Some(RETRY_AFTER_SECONDS), ..error }
    }

    /// It went wrong here.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// As JSON, also for the last event of a stream.
    pub(super) fn body(&self) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        });
        if let (Some((tokens, tokens_max)), Some(fields)) = (self.prompt, error.as_object_mut()) {
            fields.insert("code".into(), self.status.as_u16().into());
            fields.insert("n_prompt_tokens".into(), tokens.into());
            fields.insert("n_ctx".into(), tokens_max.into());
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<PoolError> for ApiError {
    fn from(error: PoolError) -> Self {
        let message = error.to_string();
        match error {
            PoolError::QueueFull { .. } => Self::overloaded(message),
            PoolError::NoModel { .. } => Self::no_model(message),
            PoolError::TooLarge { .. } => Self::unavailable(message),
            PoolError::PromptTooLong { tokens, tokens_max } => {
                let error = Self::new(StatusCode::BAD_REQUEST, "exceed_context_size_error", message);
                Self { prompt: Some((tokens, tokens_max)), ..error }
            }
            PoolError::ModelFailed { retry_in, .. } => {
                Self { retry_after: Some(retry_in.as_secs().max(1)), ..Self::unavailable(message) }
            }
            PoolError::Link(_) | PoolError::Unable { .. } => Self::unavailable(message),
            // What the engine refuses is the request's own fault: a schema, a grammar, a token that the model does not have.
            PoolError::Engine { .. } | PoolError::Medium { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
            }
            PoolError::RequestCrashed { .. } | PoolError::MediaCrashed { .. } => Self::internal(message),
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::NotRunning { .. } => Self::no_model(message),
            SubmitError::Unavailable { .. } => Self::unavailable(message),
            SubmitError::ChannelClosed { .. } => Self::forbidden(message),
            SubmitError::Empty | SubmitError::TooLarge { .. } => Self::field("messages", message),
            SubmitError::Busy { .. } => Self::overloaded(message),
            SubmitError::Memory(error) => error.into(),
        }
    }
}

impl From<MemoryError> for ApiError {
    fn from(error: MemoryError) -> Self {
        Self::unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_is_too_long_is_told_as_llama_server_tells_it() {
        let error = ApiError::from(PoolError::PromptTooLong { tokens: 9000, tokens_max: 8192 });
        let body = error.body();
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        assert_eq!(body["error"]["type"], "exceed_context_size_error");
        assert_eq!(
            (&body["error"]["n_prompt_tokens"], &body["error"]["n_ctx"]),
            (&json!(9000), &json!(8192))
        );
        assert_eq!(body["error"]["code"], 400);
    }

    #[test]
    fn a_full_queue_asks_to_come_again() {
        let response = ApiError::from(PoolError::QueueFull { waiting: 64 }).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
    #[test]
    fn only_what_the_request_is_to_blame_for_is_its_fault() {
        let detail = || "odd".to_owned();
        let model = || "small".parse::<archond_actors::domain::ModelId>().unwrap();
        for (error, status, kind) in [
            (PoolError::Engine { detail: detail() }, 400, "invalid_request_error"),
            (PoolError::Unable { detail: detail() }, 503, "unavailable_error"),
            (PoolError::RequestCrashed { model: model(), crashes: 3 }, 500, "server_error"),
            (PoolError::NoModel { wanted: model() }, 404, "invalid_request_error"),
        ] {
            let error = ApiError::from(error);
            assert_eq!((error.status.as_u16(), error.kind), (status, kind), "{error}");
        }
    }
}
