//! The state of the conversation in revisions with `initialize`: the negotiated revision and, if the
//! server has sessions, the id of the session.

use super::message::Request;
use bytes::Bytes;
use http::HeaderValue;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    state: Mutex<ConversationState>,
}

#[derive(Debug, Default)]
struct ConversationState {
    version: Option<String>,
    session: Option<HeaderValue>,
    initialize: Option<(Request, Bytes)>,
}

impl Conversation {
    /// The server answered `initialize`. The request is kept, to begin a new session if the server ends this one.
    pub(super) fn initialized(
        &self,
        (request, line): (&Request, &Bytes),
        version: Option<String>,
        session: Option<HeaderValue>,
    ) {
        let initialize = Some((request.clone(), line.clone()));
        *self.state() = ConversationState { version, session, initialize };
    }

    /// The negotiated revision.
    pub(super) fn version(&self) -> Option<String> {
        self.state().version.clone()
    }

    /// The id of the session.
    pub(super) fn session(&self) -> Option<HeaderValue> {
        self.state().session.clone()
    }

    /// The server has ended the session `lost`. Returns the request that begins a new one; `None` if that has happened.
    pub(super) fn lose(&self, lost: &HeaderValue) -> Option<(Request, Bytes)> {
        let mut state = self.state();
        if state.session.as_ref() != Some(lost) {
            return None;
        }
        state.session = None;
        state.initialize.clone()
    }

    fn state(&self) -> MutexGuard<'_, ConversationState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lost_session_begins_anew_once() {
        let conversation = Conversation::default();
        assert_eq!((conversation.version(), conversation.session()), (None, None));
        let request = Request { id: json!(0), method: "initialize".to_owned(), version: None, name: None };
        let line = Bytes::from_static(b"{}");
        let session = HeaderValue::from_static("s1");
        conversation.initialized((&request, &line), Some("2025-11-25".to_owned()), Some(session.clone()));
        assert_eq!(conversation.version().as_deref(), Some("2025-11-25"));
        assert_eq!(conversation.lose(&HeaderValue::from_static("s0")), None, "it has been replaced");
        assert_eq!(conversation.lose(&session), Some((request, line)));
        assert_eq!((conversation.lose(&session), conversation.session()), (None, None));
    }
}
