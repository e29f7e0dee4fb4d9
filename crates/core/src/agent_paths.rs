//! Where the agent is in a workspace's pod: what the operator lays out, the servers call, and the agent expects.
//!
//! Pods and servers of different releases meet: a pod keeps the agent that it was started with, and the admission policy
//! on exec names the command line. So neither the path of the installed program nor the command lines change.

/// The agent's folder: in the init container the volume for the binary, in the workspace's container that for socket and
/// output, in which the binary alone is mounted, read-only.
pub const INSTALL_DIR: &str = "/run/portcullis";
/// The agent's binary. Workspaces that were started by an older operator have it at the same path, and the policy on exec
/// names it, so it stays.
pub const BINARY: &str = "/run/portcullis/portcullis";
/// The socket that it listens at.
pub const SOCKET: &str = "/run/portcullis/agent.sock";
/// Where it keeps output that is too long to show: neither in the home folder, which it would litter and fill, nor
/// gone when the container is restarted.
pub const OUTPUT_DIR: &str = "/run/portcullis/output";
/// Where a kubelet reads why a container ended.
pub const TERMINATION_LOG: &str = "/dev/termination-log";
/// How the termination message of a container begins whose workspace's own program failed at once.
pub const FAILED_PROGRAM: &str = "pod.command";
/// The variable that names the home folder, which commands have as `HOME` too.
pub const HOME_VARIABLE: &str = "PORTCULLIS_HOME";
/// The name of the binary's file in a pod.
pub const BINARY_NAME: &str = "portcullis";
/// The name of the program in an image, beside the main program or alone.
pub const PROGRAM: &str = "portcullis-agent";
/// The first argument of all command lines in pods: the agent was a subcommand of the main program.
pub const SUBCOMMAND: &str = "agent";
/// The arguments of the init container, which follow the entry point of its image: `portcullis` in the image with both
/// programs and in those of older releases, `portcullis-agent` in the small one.
pub const INSTALL_ARGUMENTS: [&str; 3] = [SUBCOMMAND, "install", INSTALL_DIR];
/// The command of the workspace's container.
pub const RUN_COMMAND: [&str; 3] = [BINARY, SUBCOMMAND, "run"];
/// The command by which servers reach the agent.
pub const CONNECT_COMMAND: [&str; 3] = [BINARY, SUBCOMMAND, "connect"];
