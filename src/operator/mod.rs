//! Watch -> plan -> server-side apply -> status: the controller of endpoints and their clients.
