//! Randomness. All other code gets a generator as an argument, so that tests are exact; `clippy.toml` bans the global
//! generators elsewhere.

use rand::rngs::StdRng;

/// A cryptographically secure generator, seeded by the operating system.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the one place")]
pub fn rng() -> StdRng {
    rand::make_rng()
}
