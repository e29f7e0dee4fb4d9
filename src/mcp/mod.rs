//! The protocol edge of MCP, and the tools.
