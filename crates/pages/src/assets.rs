//! Style sheet and icon, compiled in. Their names carry their hash, so that browsers may keep them for good.

use crate::Pages;
use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use portcullis_core::hex;
use portcullis_telemetry::audit::RequestContext;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, LazyLock};

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ONE_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");
const NOT_AT_ALL: HeaderValue = HeaderValue::from_static("no-store");

struct Asset {
    stem: &'static str,
    extension: &'static str,
    content_type: &'static str,
    content: &'static str,
}

static STYLE: Asset = Asset {
    stem: "style",
    extension: "css",
    content_type: "text/css; charset=utf-8",
    content: include_str!("assets/style.css"),
};

static ICON: Asset = Asset {
    stem: "portcullis",
    extension: "svg",
    content_type: "image/svg+xml",
    content: include_str!("assets/portcullis.svg"),
};

static STYLE_NAME: LazyLock<String> = LazyLock::new(|| STYLE.name());
static ICON_NAME: LazyLock<String> = LazyLock::new(|| ICON.name());

impl Asset {
    fn name(&self) -> String {
        let hash = hex(&Sha256::digest(self.content)[..6]);
        format!("{}-{hash}.{}", self.stem, self.extension)
    }

    /// Whether `name` names this asset in any version.
    fn answers_to(&self, name: &str) -> bool {
        name.strip_prefix(self.stem)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(self.extension))
            .is_some_and(|hash| hash.ends_with('.'))
    }
}

/// The style sheet itself, for a page that stands alone.
#[must_use]
pub fn style_sheet() -> &'static str {
    STYLE.content
}

/// The name of the style sheet.
pub(crate) fn style() -> &'static str {
    &STYLE_NAME
}

/// The name of the icon.
pub(crate) fn icon() -> &'static str {
    &ICON_NAME
}

/// `GET /assets/{name}`. In the middle of a rollout a page of the other version may ask for its own: it gets what there
/// is here, and keeps it for this one page.
pub(crate) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(name): Path<String>,
) -> Response {
    let Some(asset) = [&STYLE, &ICON].into_iter().find(|asset| asset.answers_to(&name)) else {
        return pages.show(&from, &super::error_page::ErrorPage::not_found());
    };
    let current = name == *STYLE_NAME || name == *ICON_NAME;
    let caching = if current { FOREVER } else { NOT_AT_ALL };
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)), (header::CACHE_CONTROL, caching)];
    (StatusCode::OK, headers, asset.content).into_response()
}

/// `GET /favicon.ico`, for browsers that show something other than these pages. Its name has no hash.
pub(crate) async fn favicon() -> Response {
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static(ICON.content_type)), (header::CACHE_CONTROL, ONE_DAY)];
    (headers, ICON.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_hash_and_other_versions_are_known() {
        assert!(style().starts_with("style-") && style().len() == "style-0123456789ab.css".len(), "{}", style());
        assert!(STYLE.answers_to(style()) && STYLE.answers_to("style-0123.css") && ICON.answers_to(icon()));
        for other in ["style.css", "style-css", "xstyle-1.css", "style-1.svg", "portcullis-1.css"] {
            assert!(!STYLE.answers_to(other), "{other}");
        }
    }

    /// The contrast of two colours (WCAG 2.2, 1.4.3).
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |colour: &str| {
            let channel = |range: std::ops::Range<usize>| {
                let value = f64::from(u8::from_str_radix(&colour[range], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(1..3) + 0.7152 * channel(3..5) + 0.0722 * channel(5..7)
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn colours_have_the_contrast_of_wcag_aa_in_light_and_in_dark() {
        let (light, dark) = STYLE.content.split_once("prefers-color-scheme: dark").unwrap();
        for theme in [light, dark] {
            let colour = |name: &str| {
                let (_, rest) = theme.split_once(&format!("--{name}: ")).unwrap();
                rest.split_once(';').unwrap().0
            };
            for (front, backs, least) in [
                ("text", &["ground", "surface", "wash", "danger-wash", "caution-wash"][..], 7.0),
                ("quiet", &["ground", "surface"], 4.5),
                ("accent", &["ground", "surface", "wash"], 4.5),
                ("accent-strong", &["ground", "surface"], 4.5),
                ("on-accent", &["accent", "accent-strong"], 4.5),
                ("danger", &["surface", "danger-wash"], 4.5),
                ("caution", &["surface", "caution-wash"], 4.5),
                ("edge", &["surface"], 3.0),
            ] {
                for back in backs {
                    let contrast = contrast(colour(front), colour(back));
                    assert!(contrast >= least, "{front} on {back}: {contrast:.2}");
                }
            }
        }
    }
}
