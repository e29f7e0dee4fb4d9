//! Randomness. Everything else is handed a generator, so that tests are exact; `clippy.toml` bans the ambient ones elsewhere.

use rand::rngs::StdRng;

/// A cryptographic generator, seeded by the operating system.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the one place")]
pub fn rng() -> StdRng {
    rand::make_rng()
}
