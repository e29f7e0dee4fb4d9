//! YAML documents as JSON values, with the line of each field.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};
use std::{collections::BTreeMap, fmt};

/// A parsed document.
#[derive(Debug)]
pub(super) struct Located {
    /// The content.
    pub value: Value,
    /// The lines of the fields.
    pub lines: Lines,
}

/// The line of each field, by its path, such as `spec.tools.deny[0]`.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, u64>);

impl Lines {
    /// The line of a field, or of its nearest ancestor in the document.
    pub(super) fn of(&self, field: &str) -> Option<u64> {
        let mut path = field;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = if path.is_empty() { return None } else { &path[..path.rfind(['.', '[']).unwrap_or(0)] };
        }
    }
}

impl From<Spanned<Tree>> for Located {
    fn from(root: Spanned<Tree>) -> Self {
        let mut lines = Lines::default();
        lines.0.insert(String::new(), line(&root));
        let value = root.value.into_value("", &mut lines);
        Self { value, lines }
    }
}

fn line<T>(spanned: &Spanned<T>) -> u64 {
    // For an alias, this is the line that uses it.
    let Spanned { referenced, defined, .. } = spanned;
    if *referenced == Location::UNKNOWN { defined.line() } else { referenced.line() }
}

/// A value with the lines of its parts.
#[derive(Debug)]
pub(super) enum Tree {
    Scalar(Value),
    List(Vec<Spanned<Tree>>),
    /// The name, the line of the key, and the value of each entry.
    Fields(Vec<(String, u64, Tree)>),
}

impl Tree {
    fn into_value(self, path: &str, lines: &mut Lines) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let values = items.into_iter().enumerate().map(|(index, item)| {
                    let path = format!("{path}[{index}]");
                    let line = line(&item);
                    let value = item.value.into_value(&path, lines);
                    lines.0.insert(path, line);
                    value
                });
                Value::Array(values.collect())
            }
            Self::Fields(fields) => {
                let values = fields.into_iter().map(|(name, line, field)| {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let value = field.into_value(&path, lines);
                    lines.0.insert(path, line);
                    (name, value)
                });
                Value::Object(values.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

/// Accepts the same types as the visitor of [`Value`].
struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, field)) = map.next_entry::<Spanned<String>, Tree>()? {
            let line = line(&name);
            fields.push((name.value, line, field));
        }
        Ok(Tree::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(text: &str) -> Vec<Located> {
        let mut bytes = text.as_bytes();
        serde_saphyr::read::<_, Spanned<Tree>>(&mut bytes).map(|document| document.unwrap().into()).collect()
    }

    #[test]
    fn each_field_has_its_line() {
        let text = "# a comment\na: 1\nb:\n  - x\n  - c: |\n      text\n    d: {e: [1, 2], 'f/g.h': 3}\n---\n\na: {}\n";
        let documents = located(text);
        for (document, field, line) in [
            (0, "", 2),
            (0, "a", 2),
            (0, "b", 3),
            (0, "b[0]", 4),
            (0, "b[1]", 5),
            (0, "b[1].c", 5),
            (0, "b[1].d", 7),
            (0, "b[1].d.e[1]", 7),
            (0, "b[1].d.f/g.h", 7),
            (0, "b[1].missing.too", 5),
            (0, "missing", 2),
            (1, "a.missing", 10),
            (1, "", 10),
        ] {
            assert_eq!(documents[document].lines.of(field), Some(line), "{document} {field:?}");
        }
    }

    #[test]
    fn values_are_those_of_json() {
        for text in [
            "a: 1\nb: -2\nc: 1.5\nd: 1e3\ne: yes\nf: true\ng: ~\nh:\ni: '1'\nj: 0x10\nk: 18446744073709551615\nl: 0o17\n",
            "- a\n- [b, {c: d}]\n- ''\n- 2026-11-29\n- !!str 7\n",
            "base: &base {a: 1, b: [x]}\nother:\n  <<: *base\n  c: *base\n",
            "a: |\n  two\n  lines\nb: >-\n  one\n  line\n",
            r#"{"a": {"b": [1, null, "c"]}, "1": 2}"#,
            "true: x\n1: y\n",
            "just text",
            include_str!("../../examples/workspaces.yaml"),
            include_str!("../../deploy/crds.yaml"),
        ] {
            let mut bytes = text.as_bytes();
            let plain: Vec<Value> = serde_saphyr::read(&mut bytes).map(Result::unwrap).collect();
            let located: Vec<Value> = located(text).into_iter().map(|document| document.value).collect();
            assert_eq!(located, plain, "{text}");
        }
    }
}
