//! The parameters of a template: whether what was given fits, and the template with the values in place of
//! `$(parameters.NAME)`. Pure; the operator, the servers and `portcullis dev` go by the same rules.

use crate::template::{Parameter, ParameterType, WorkspaceTemplateSpec};
use regex::{Regex, RegexBuilder};
use std::{collections::BTreeMap, fmt};

pub(super) const OPEN: &str = "$(parameters.";
const LONGEST: usize = 512;
/// The maximum memory of a compiled pattern, enough for any reasonable one.
const PATTERN_MEMORY: usize = 1 << 20;
/// The maximum nesting of its groups.
const PATTERN_NESTING: u32 = 50;
/// The maximum length of a pattern in bytes: four for each character that the custom resource allows.
const LONGEST_PATTERN: usize = 4 * 256;

/// Why a workspace cannot be created with the given parameters. Each message contains the remedy for an agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterProblem {
    /// The parameter does not exist.
    #[error("there is no parameter {name:?}; {}", possible(.existing))]
    Unknown {
        /// The given value.
        name: String,
        /// The parameters of the template.
        existing: Vec<String>,
    },
    /// The parameter has no default and is missing.
    #[error("parameter {name:?} is required{}", described(.description))]
    Missing {
        /// The parameter.
        name: String,
        /// The effect of the parameter.
        description: String,
    },
    /// The value is not one of an enum's options.
    #[error("parameter {name:?} cannot be {value:?}; it must be one of: {}", options.join(", "))]
    NotAnOption {
        /// The parameter.
        name: String,
        /// The given value.
        value: String,
        /// The options.
        options: Vec<String>,
    },
    /// The value is not an integer in the range.
    #[error("parameter {name:?} cannot be {value:?}; it must be a whole number{}", range(*.minimum, *.maximum))]
    NotANumber {
        /// The parameter.
        name: String,
        /// The given value.
        value: String,
        /// The minimum.
        minimum: Option<i64>,
        /// The maximum.
        maximum: Option<i64>,
    },
    /// The value is neither true nor false.
    #[error("parameter {name:?} cannot be {value:?}; it must be true or false")]
    NotABoolean {
        /// The parameter.
        name: String,
        /// The given value.
        value: String,
    },
    /// The value does not match the pattern.
    #[error("parameter {name:?} cannot be {value:?}; it must match {pattern} as a whole")]
    DoesNotMatch {
        /// The parameter.
        name: String,
        /// The given value.
        value: String,
        /// The regular expression.
        pattern: String,
    },
    /// The value is too long, or has forbidden characters.
    #[error("parameter {name:?} must have at most 512 characters, and no control characters but tabs and line ends")]
    Unfit {
        /// The parameter.
        name: String,
    },
    /// A quantity of the template is not one after the substitution.
    #[error("{value:?} is not a valid {}; for example {example}", what(.field, .parameter.as_deref()))]
    NotAnAmount {
        /// The field of the template.
        field: String,
        /// The parameter that was substituted.
        parameter: Option<String>,
        /// The text after the substitution.
        value: String,
        /// An example of a valid quantity.
        example: &'static str,
    },
    /// The template is invalid with any parameters.
    #[error("the template is invalid: {0}; ask the platform's engineers to correct it, or use another template")]
    Template(String),
}

fn possible(names: &[String]) -> String {
    match names {
        [] => "the template has none".to_owned(),
        names => format!("the template has: {}", names.join(", ")),
    }
}

fn described(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(": {description}") }
}

fn range(minimum: Option<i64>, maximum: Option<i64>) -> String {
    match (minimum, maximum) {
        (None, None) => String::new(),
        (Some(least), None) => format!(" of at least {least}"),
        (None, Some(most)) => format!(" of at most {most}"),
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
    }
}

fn what(field: &str, parameter: Option<&str>) -> String {
    parameter.map_or_else(
        || format!("quantity for {field}"),
        |parameter| format!("quantity for parameter {parameter:?} ({field})"),
    )
}

/// Values by parameter.
pub type Values = BTreeMap<String, String>;

/// A value for every parameter, the given one or the default; or all problems.
pub fn resolve(parameters: &[Parameter], given: &Values) -> Result<Values, Vec<ParameterProblem>> {
    let mut problems: Vec<ParameterProblem> = given
        .keys()
        .filter(|name| !parameters.iter().any(|parameter| parameter.name == **name))
        .map(|name| ParameterProblem::Unknown {
            name: name.clone(),
            existing: parameters.iter().map(|parameter| parameter.name.clone()).collect(),
        })
        .collect();
    let mut values = Values::new();
    for parameter in parameters {
        let name = parameter.name.clone();
        let Some(value) = given.get(&name).or(parameter.default.as_ref()) else {
            problems.push(ParameterProblem::Missing { name, description: parameter.description.clone() });
            continue;
        };
        match check(parameter, value) {
            Ok(()) => drop(values.insert(name, value.clone())),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

pub(super) fn check(parameter: &Parameter, value: &str) -> Result<(), ParameterProblem> {
    let (name, value_given) = (parameter.name.clone(), value.to_owned());
    if value.chars().count() > LONGEST || value.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(ParameterProblem::Unfit { name });
    }
    match parameter.kind {
        ParameterType::String => {
            let Some(pattern) = &parameter.pattern else { return Ok(()) };
            let whole = compile(pattern).map_err(|problem| {
                ParameterProblem::Template(format!("the pattern of parameter {name:?}: {problem}"))
            })?;
            if whole.is_match(value) {
                return Ok(());
            }
            Err(ParameterProblem::DoesNotMatch { name, value: value_given, pattern: pattern.clone() })
        }
        ParameterType::Enum if parameter.options.iter().any(|option| option == value) => Ok(()),
        ParameterType::Enum => {
            Err(ParameterProblem::NotAnOption { name, value: value_given, options: parameter.options.clone() })
        }
        ParameterType::Integer => {
            let (minimum, maximum) = (parameter.minimum, parameter.maximum);
            let fits =
                |number: i64| minimum.is_none_or(|least| least <= number) && maximum.is_none_or(|most| number <= most);
            let number = value.parse().ok().filter(|_| !value.starts_with('+'));
            if number.is_some_and(fits) {
                return Ok(());
            }
            Err(ParameterProblem::NotANumber { name, value: value_given, minimum, maximum })
        }
        ParameterType::Boolean if matches!(value, "true" | "false") => Ok(()),
        ParameterType::Boolean => Err(ParameterProblem::NotABoolean { name, value: value_given }),
    }
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternProblem {
    /// The syntax is invalid.
    #[error("{pattern:?} is not a regular expression: {reason}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// The parser's message, on one line.
        reason: String,
    },
    /// It is longer than admission allows, or compiles to too large a program.
    #[error("{0:?} takes too much memory as a regular expression")]
    TooLarge(String),
}

/// The regular expression of a pattern, which must match a value as a whole.
pub(super) fn compile(pattern: &str) -> Result<Regex, PatternProblem> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(PatternProblem::TooLarge(pattern.chars().take(64).chain(['…']).collect()));
    }
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(PATTERN_MEMORY).dfa_size_limit(PATTERN_MEMORY).nest_limit(PATTERN_NESTING);
        builder.build()
    };
    // By itself first: `a)|(b` is an expression only within a group.
    let whole = build(pattern).and_then(|_| build(&format!(r"\A(?:{pattern})\z")));
    whole.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternProblem::TooLarge(pattern.to_owned()),
        // The last line has the reason; those before show the place.
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            PatternProblem::Syntax { pattern: pattern.to_owned(), reason }
        }
    })
}

/// The text with values in place of `$(parameters.NAME)`.
pub fn substitute(text: &str, values: &Values) -> Result<String, ParameterProblem> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, after) = after
            .split_once(')')
            .ok_or_else(|| ParameterProblem::Template(format!("{text:?} has {OPEN} without a closing parenthesis")))?;
        let value = values.get(name).ok_or_else(|| {
            ParameterProblem::Template(format!(
                "{text:?} names the parameter {name:?}, which the template does not have"
            ))
        })?;
        done.extend([before, value]);
        rest = after;
    }
    done.push_str(rest);
    Ok(done)
}

/// The template with the values of its parameters substituted, or all problems.
pub fn fill(template: &WorkspaceTemplateSpec, given: &Values) -> Result<WorkspaceTemplateSpec, Vec<ParameterProblem>> {
    let values = resolve(&template.parameters, given)?;
    let mut filling = Filling { values: &values, problems: Vec::new() };
    let mut filled = template.clone();
    filling.text(&mut filled.pod.image);
    if !is_image(&filled.pod.image) && filling.problems.is_empty() {
        filling.problems.push(ParameterProblem::Template(format!("{:?} is not an image reference", filled.pod.image)));
    }
    filled.pod.command.iter_mut().for_each(|word| filling.text(word));
    for variable in &mut filled.pod.env {
        variable.value.iter_mut().for_each(|value| filling.text(value));
    }
    for (name, amount) in &mut filled.pod.resources.requests {
        filling.amount(&format!("pod.resources.requests.{name}"), amount, "500m or 1Gi");
    }
    for (name, amount) in &mut filled.pod.resources.limits {
        filling.amount(&format!("pod.resources.limits.{name}"), amount, "500m or 1Gi");
    }
    filling.amount("storage.size", &mut filled.storage.size, "10Gi");
    if filling.problems.is_empty() { Ok(filled) } else { Err(filling.problems) }
}

struct Filling<'a> {
    values: &'a Values,
    problems: Vec<ParameterProblem>,
}

impl Filling<'_> {
    fn text(&mut self, text: &mut String) {
        match substitute(text, self.values) {
            Ok(filled) => *text = filled,
            Err(problem) => self.problems.push(problem),
        }
    }

    fn amount(&mut self, field: &str, text: &mut String, example: &'static str) {
        let parameter = text.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(')')).map(ToOwned::to_owned);
        let before = self.problems.len();
        self.text(text);
        if self.problems.len() == before && !is_amount(text) {
            self.problems.push(ParameterProblem::NotAnAmount {
                field: field.to_owned(),
                parameter,
                value: text.clone(),
                example,
            });
        }
    }
}

pub(super) fn is_image(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Whether the admission rules accept the text as a quantity.
fn is_amount(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.split_once('.').map_or(digits(number), |(whole, fraction)| digits(whole) && digits(fraction));
    number && matches!(unit, "" | "m" | "k" | "M" | "G" | "T" | "Ki" | "Mi" | "Gi" | "Ti")
}

/// Several problems as one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a>(pub &'a [ParameterProblem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn template(more: &Value) -> WorkspaceTemplateSpec {
        let mut spec = json!({"pod": {"image": "debian:$(parameters.release)"}, "parameters": [
            {"name": "release", "type": "enum", "options": ["bookworm", "trixie"], "default": "bookworm"},
            {"name": "memory", "default": "1Gi"},
            {"name": "team", "pattern": "[a-z]+", "description": "whose bill it is"},
            {"name": "workers", "type": "integer", "minimum": 1, "maximum": 8, "default": "2"},
            {"name": "debug", "type": "boolean", "default": "false"},
        ]});
        for (name, value) in more.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_does_not_fit_is_said_to_an_agent() {
        let long = "a".repeat(513);
        for (given, expected) in [
            (
                &[("team", "web"), ("siz", "2")][..],
                r#"there is no parameter "siz"; the template has: release, memory, team, workers, debug"#,
            ),
            (&[], r#"parameter "team" is required: whose bill it is"#),
            (
                &[("team", "web"), ("release", "sid")],
                r#"parameter "release" cannot be "sid"; it must be one of: bookworm, trixie"#,
            ),
            (&[("team", "Web 1")], r#"parameter "team" cannot be "Web 1"; it must match [a-z]+ as a whole"#),
            (&[("team", "web\n")], r#"parameter "team" cannot be "web\n"; it must match [a-z]+ as a whole"#),
            (
                &[("team", "web"), ("workers", "9")],
                r#"parameter "workers" cannot be "9"; it must be a whole number from 1 to 8"#,
            ),
            (
                &[("team", "web"), ("workers", "+3")],
                r#"parameter "workers" cannot be "+3"; it must be a whole number from 1 to 8"#,
            ),
            (
                &[("team", "web"), ("workers", "two")],
                r#"parameter "workers" cannot be "two"; it must be a whole number from 1 to 8"#,
            ),
            (&[("team", "web"), ("debug", "yes")], r#"parameter "debug" cannot be "yes"; it must be true or false"#),
            (
                &[("team", long.as_str())],
                r#"parameter "team" must have at most 512 characters, and no control characters but tabs and line ends"#,
            ),
            (
                &[("team", "a\0b")],
                r#"parameter "team" must have at most 512 characters, and no control characters but tabs and line ends"#,
            ),
        ] {
            let problems = resolve(&template(&json!({})).parameters, &values(given)).unwrap_err();
            assert_eq!(Listed(&problems).to_string(), expected);
        }
        let all = resolve(&template(&json!({})).parameters, &values(&[("x", "1"), ("debug", "2")])).unwrap_err();
        assert_eq!(all.len(), 3, "each is said: {all:?}");
    }

    #[test]
    fn values_take_the_place_of_their_names() {
        let template = template(&json!({
            "pod": {
                "image": "debian:$(parameters.release)",
                "command": ["serve", "--as=$(parameters.team)-$(parameters.workers)", "$(HOME)"],
                "env": [{"name": "A", "value": "$(parameters.debug)"}, {"name": "B", "secretKeyRef": {"name": "s", "key": "k"}}],
                "resources": {"requests": {"memory": "$(parameters.memory)"}, "limits": {"cpu": "1.5"}},
            },
        }));
        let filled = fill(&template, &values(&[("team", "web"), ("memory", "512Mi")])).unwrap();
        assert_eq!(filled.pod.image, "debian:bookworm");
        assert_eq!(filled.pod.command, ["serve", "--as=web-2", "$(HOME)"]);
        assert_eq!(filled.pod.env[0].value.as_deref(), Some("false"));
        assert_eq!((&*filled.pod.resources.requests["memory"], &*filled.pod.resources.limits["cpu"]), ("512Mi", "1.5"));
        // What stands in a value is no name.
        let nested = fill(
            &self::template(&json!({"parameters": [{"name": "release", "default": "$(parameters.x)"}]})),
            &values(&[]),
        );
        assert_eq!(nested.unwrap().pod.image, "debian:$(parameters.x)");
    }

    #[test]
    fn what_cannot_be_filled_in_is_said() {
        let team = values(&[("team", "web"), ("memory", "lots")]);
        let pod = |pod: Value| template(&json!({"pod": pod}));
        for (template, expected) in [
            (
                pod(json!({"image": "a", "resources": {"limits": {"memory": "$(parameters.memory)"}}})),
                r#""lots" is not a valid quantity for parameter "memory" (pod.resources.limits.memory); for example 500m or 1Gi"#,
            ),
            (
                template(&json!({"storage": {"size": "1.Gi"}})),
                r#""1.Gi" is not a valid quantity for storage.size; for example 10Gi"#,
            ),
            (
                pod(json!({"image": "a:$(parameters.tag)"})),
                r#"the template is invalid: "a:$(parameters.tag)" names the parameter "tag", which the template does not have; ask the platform's engineers to correct it, or use another template"#,
            ),
            (
                pod(json!({"image": "a:$(parameters.team"})),
                r#"the template is invalid: "a:$(parameters.team" has $(parameters. without a closing parenthesis; ask the platform's engineers to correct it, or use another template"#,
            ),
            (
                pod(json!({"image": "a b"})),
                r#"the template is invalid: "a b" is not an image reference; ask the platform's engineers to correct it, or use another template"#,
            ),
            (
                template(&json!({"parameters": [{"name": "team", "pattern": "("}, {"name": "memory"}]})),
                r#"the template is invalid: the pattern of parameter "team": "(" is not a regular expression: unclosed group; ask the platform's engineers to correct it, or use another template"#,
            ),
        ] {
            assert_eq!(Listed(&fill(&template, &team).unwrap_err()).to_string(), expected);
        }
    }
}
