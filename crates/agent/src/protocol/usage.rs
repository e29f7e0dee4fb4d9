//! The resource usage and limits of a workspace: `/usage`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// The answer of `GET /usage`: the current usage of the workspace, and its limits. Values that cannot be measured are
/// omitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// CPU, in cores.
    pub cpu: Amount,
    /// Memory, in bytes; without memory that the kernel can reclaim.
    pub memory: Amount,
    /// The volume of the home folder, in bytes.
    pub disk: Amount,
}

/// A usage and its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Amount {
    /// The usage.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub used: Option<f64>,
    /// The limit, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub limit: Option<f64>,
}

/// Writes a whole number as an integer.
#[expect(clippy::ref_option, reason = "what serde passes")]
#[expect(clippy::cast_possible_truncation, reason = "it is whole and far below the border")]
fn number<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    /// 2^53: below it, every integer has an exact floating-point value.
    const MOST: f64 = 9_007_199_254_740_992.0;
    match *number {
        Some(whole) if whole.fract() == 0.0 && whole.abs() < MOST => serializer.serialize_i64(whole as i64),
        other => other.serialize(serializer),
    }
}
