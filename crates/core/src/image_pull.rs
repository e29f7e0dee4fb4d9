//! The reasons of the kubelet for an image that it cannot use, which operator and doctor both read in the status of pods.

/// The waiting reasons of a container whose image cannot be used.
const REASONS: [&str; 7] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Whether a container waits because of its image.
#[must_use]
pub fn is_pull_failure(reason: &str) -> bool {
    REASONS.contains(&reason)
}
