//! Serve mode: listeners, middleware order, mounted files and their reload.
