//! Kinds that a cluster may or may not serve: planned only where it does.

use kube::core::{GroupVersionKind, TypeMeta};

/// A kind that somebody else's custom resource definitions bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptionalKind {
    /// The Gateway API's HTTPRoute.
    HttpRoute,
    /// Traefik's Middleware.
    Middleware,
    /// Traefik's ServersTransport.
    ServersTransport,
}

impl OptionalKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HttpRoute, Self::Middleware, Self::ServersTransport];

    /// Group, version and kind.
    #[must_use]
    pub fn gvk(self) -> GroupVersionKind {
        match self {
            Self::HttpRoute => GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"),
            Self::Middleware => GroupVersionKind::gvk("traefik.io", "v1alpha1", "Middleware"),
            Self::ServersTransport => GroupVersionKind::gvk("traefik.io", "v1alpha1", "ServersTransport"),
        }
    }

    /// What an object of the kind says of it.
    #[must_use]
    pub fn types(self) -> TypeMeta {
        let gvk = self.gvk();
        TypeMeta { api_version: gvk.api_version(), kind: gvk.kind }
    }
}
