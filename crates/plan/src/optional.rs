//! Kinds that not every cluster serves. They are planned only if the cluster serves them.

use kube::core::{GroupVersionKind, TypeMeta};

/// A kind from the custom resource definitions of another project.
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
    /// All optional kinds.
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

    /// `apiVersion` and `kind` of an object.
    #[must_use]
    pub fn types(self) -> TypeMeta {
        let gvk = self.gvk();
        TypeMeta { api_version: gvk.api_version(), kind: gvk.kind }
    }
}
