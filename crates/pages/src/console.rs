//! The landing page: the endpoint's URL, and how to connect each well-known agent here.

use crate::{Pages, error_page::ErrorPage, headers, navigation::NavigationPage, page, paths, see_other, view};
use axum::{Extension, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use portcullis_telemetry::audit::RequestContext;
use std::sync::Arc;

/// `GET /console/`.
pub(crate) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, show(&pages, &headers))
}

/// `GET /console`, and the root of the endpoint.
pub(crate) async fn redirect(State(pages): State<Arc<Pages>>, Extension(from): Extension<RequestContext>) -> Response {
    pages.answer(&from, see_other(&format!("{}{}/", pages.base(), paths::CONSOLE)))
}

impl Pages {
    /// The landing page for a browser at the URL of the endpoint itself. `None`: the endpoint has no landing page.
    #[must_use]
    pub fn landing(&self, from: &RequestContext, headers: &HeaderMap) -> Option<Response> {
        self.has_console().then(|| headers::secure(self.answer(from, show(self, headers))))
    }
}

fn show(pages: &Pages, headers: &HeaderMap) -> Result<Response, ErrorPage> {
    let user = pages.user_session(headers, pages.clock.now());
    let navigation = user.map(|user| pages.navigation(&user, NavigationPage::Connect)).transpose()?;
    page(
        StatusCode::OK,
        &view::Landing {
            frame: &pages.frame,
            navigation,
            can_sign_in: pages.logins.list().next().is_some(),
            resource: &pages.url.resource(),
            setups: pages.setups.as_deref().unwrap_or_default(),
        },
    )
}
