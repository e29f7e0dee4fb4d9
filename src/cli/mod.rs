//! One thin file per subcommand.

pub mod crds;
pub mod serve;
