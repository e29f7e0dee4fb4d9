//! The paths and command lines of the workspace agent in a pod: the operator lays them out, servers call them, and the
//! workspace agent relies on them.
//!
//! Pods and servers can be of different releases: a pod keeps the workspace agent that it was started with, and the
//! admission policy on exec contains the command line. Therefore neither the path of the installed binary nor the
//! command lines may change.

/// The workspace agent's folder. In the init container it is the volume for the binary. In the workspace's container it
/// is the volume for the socket and the output, in which the binary is mounted read-only.
pub const INSTALL_DIR: &str = "/run/portcullis";
/// The workspace agent's binary. The path must not change: workspaces that were started by an older operator have the
/// binary there, and the admission policy on exec contains the path.
pub const BINARY: &str = "/run/portcullis/portcullis";
/// The Unix socket of the workspace agent.
pub const SOCKET: &str = "/run/portcullis/agent.sock";
/// The folder for output that is too long for a response. It is outside of the home folder, which the output would
/// clutter and fill, and survives a restart of the container.
pub const OUTPUT_DIR: &str = "/run/portcullis/output";
/// The file from which a kubelet reads the termination message of a container.
pub const TERMINATION_LOG: &str = "/dev/termination-log";
/// The prefix of the termination message if the workspace's own program failed immediately.
pub const FAILED_PROGRAM: &str = "pod.command";
/// The environment variable with the path of the home folder, which commands also have as `HOME`.
pub const HOME_VARIABLE: &str = "PORTCULLIS_HOME";
/// The file name of the binary in a pod.
pub const BINARY_NAME: &str = "portcullis";
/// The name of the workspace agent's program in an image, with or without the main program.
pub const PROGRAM: &str = "portcullis-agent";
/// The first argument of all command lines in pods, from the time when the workspace agent was a subcommand of the main
/// program.
pub const SUBCOMMAND: &str = "agent";
/// The arguments of the init container, for the entry point of its image: `portcullis` in the image with both programs
/// and in images of older releases, `portcullis-agent` in the small image.
pub const INSTALL_ARGUMENTS: [&str; 3] = [SUBCOMMAND, "install", INSTALL_DIR];
/// The command of the workspace's container.
pub const RUN_COMMAND: [&str; 3] = [BINARY, SUBCOMMAND, "run"];
/// The command with which servers connect to the workspace agent.
pub const CONNECT_COMMAND: [&str; 3] = [BINARY, SUBCOMMAND, "connect"];
