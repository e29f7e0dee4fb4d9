//! The navigation bar of the signed-in pages: one table of its entries.

use crate::{Pages, error_page::ErrorPage, forms::Action, paths, text, user_session::UserSession};

/// A page that the navigation bar links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NavigationPage {
    /// The landing page.
    Connect,
    /// The user's workspaces.
    Workspaces,
    /// The connected agents.
    Agents,
    /// All users and workspaces, for administrators.
    Administration,
}

/// One entry of the bar.
struct Entry {
    page: NavigationPage,
    /// Its path, below the issuer's.
    path: &'static str,
    label: &'static str,
}

/// The entries, in their order.
const ENTRIES: [Entry; 4] = [
    Entry { page: NavigationPage::Connect, path: "/console/", label: "Connect an agent" },
    Entry { page: NavigationPage::Workspaces, path: paths::WORKSPACES, label: "Workspaces" },
    Entry { page: NavigationPage::Agents, path: paths::AGENTS, label: "Agents" },
    Entry { page: NavigationPage::Administration, path: paths::ADMINISTRATION, label: "Administration" },
];

/// The bar, for the templates.
#[derive(Clone, Debug)]
pub(crate) struct NavigationBar {
    /// The signed-in user.
    pub user: String,
    /// The CSRF token of the form that signs out.
    pub sign_out: String,
    /// The links; empty on an endpoint without a console.
    pub links: Vec<NavigationLink>,
}

/// A link of the bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NavigationLink {
    pub href: String,
    pub label: &'static str,
    /// The value of `aria-current` (WAI-ARIA 1.2 §6.6).
    pub current: Option<&'static str>,
}

impl Pages {
    /// The bar of `page`.
    pub(crate) fn navigation(&self, user: &UserSession, page: NavigationPage) -> Result<NavigationBar, ErrorPage> {
        self.navigation_bar(user, page, "page")
    }

    /// The bar of a page below `page`.
    pub(crate) fn navigation_below(
        &self,
        user: &UserSession,
        page: NavigationPage,
    ) -> Result<NavigationBar, ErrorPage> {
        self.navigation_bar(user, page, "true")
    }

    fn navigation_bar(
        &self,
        user: &UserSession,
        page: NavigationPage,
        current: &'static str,
    ) -> Result<NavigationBar, ErrorPage> {
        let links = ENTRIES.iter().filter(|entry| self.links_to(entry.page, user)).map(|entry| NavigationLink {
            href: format!("{}{}", self.base(), entry.path),
            label: entry.label,
            current: (entry.page == page).then_some(current),
        });
        Ok(NavigationBar {
            user: text::name(&user.user.name, &user.user.id),
            sign_out: self.csrf_token(Action::SignOut, &user.session)?,
            links: if self.has_console() { links.collect() } else { Vec::new() },
        })
    }

    /// Whether the endpoint has this page for the user.
    fn links_to(&self, page: NavigationPage, user: &UserSession) -> bool {
        match page {
            NavigationPage::Connect => self.has_console(),
            NavigationPage::Workspaces => self.workspaces_for("list_workspaces").is_ok(),
            NavigationPage::Agents => true,
            NavigationPage::Administration => self.is_administrator(user),
        }
    }
}
