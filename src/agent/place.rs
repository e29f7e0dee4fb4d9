//! Where the agent is in a workspace's pod. The operator's plan, the agent and the servers go by it.

/// The folder that the init container fills: a volume that the workspace's container has too.
pub const INSTALL_DIR: &str = "/run/portcullis";
/// The agent's program.
pub const BINARY: &str = "/run/portcullis/portcullis";
/// Where it serves.
pub const SOCKET: &str = "/run/portcullis/agent.sock";
/// The variable that names the home folder to it.
pub const HOME_VARIABLE: &str = "PORTCULLIS_HOME";
