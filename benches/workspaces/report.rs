//! The second part of docs/benchmarks.md.

use std::{fmt::Write as _, time::Duration};
use tokio::time::Instant;

/// How long something took, each time.
#[derive(Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, begin: Instant) {
        self.0.push(begin.elapsed());
    }

    pub fn extend(&mut self, more: impl IntoIterator<Item = Duration>) {
        self.0.extend(more);
    }

    /// Does it so often, one after another.
    pub async fn repeat<F: Future>(&mut self, count: usize, mut what: impl FnMut() -> F) {
        for _ in 0..count {
            let begin = Instant::now();
            what().await;
            self.add(begin);
        }
    }

    /// In milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }
}

/// One line of the table.
#[derive(Clone)]
pub struct Row {
    what: String,
    times: Times,
    partner: Option<(String, Times)>,
    /// What part of the partner's time it may take.
    ratio_goal: Option<f64>,
    /// How many milliseconds it may take, in the median.
    time_goal: Option<f64>,
}

impl Row {
    pub fn alone(what: &str, times: Times) -> Self {
        Self { what: what.to_owned(), times, partner: None, ratio_goal: None, time_goal: None }
    }

    pub fn beside(what: &str, partner: &str, times: &Times, partners: Times) -> Self {
        Self { partner: Some((partner.to_owned(), partners)), ..Self::alone(what, times.clone()) }
    }

    pub fn with_goal(self, ratio: f64) -> Self {
        Self { ratio_goal: Some(ratio), ..self }
    }

    pub fn within_ms(self, milliseconds: f64) -> Self {
        Self { time_goal: Some(milliseconds), ..self }
    }

    fn goal(&self, ratio: Option<f64>) -> String {
        let said = |met: bool| if met { "met" } else { "**missed**" };
        match (self.ratio_goal.zip(ratio), self.time_goal) {
            (Some((goal, ratio)), _) => format!("≤ {goal}×: {}", said(ratio <= goal)),
            (None, Some(goal)) => format!("p50 ≤ {goal} ms: {}", said(self.times.percentile(50) <= goal)),
            (None, None) => String::new(),
        }
    }
}

pub fn to_markdown(rows: &[Row], memory: &[(String, u64, u64)]) -> String {
    let mut text = String::from(
        "\n## Workspaces on a real node\n\nThrough the endpoint (MCP, an access token of a person), beside what one would \
         do without Portcullis; milliseconds, p50 / p99.\n\n| what | through the endpoint | partner | | p50 of its p50 | goal \
         |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let shown = |times: &Times| format!("{:.1} / {:.1}", times.percentile(50), times.percentile(99));
        let ratio = row.partner.as_ref().map(|(_, times)| row.times.percentile(50) / times.percentile(50));
        let (partner, theirs) =
            row.partner.as_ref().map_or((String::new(), String::new()), |(name, times)| (name.clone(), shown(times)));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {partner} | {theirs} | {} | {} |",
            row.what,
            shown(&row.times),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}×")),
            row.goal(ratio),
        );
    }
    let agent = memory.iter().filter(|(name, ..)| name != "connect");
    let (rss, pss) = agent.fold((0, 0), |(rss, pss), one| (rss + one.1, pss + one.2));
    let met = if pss * 1024 <= 8_000_000 { "met" } else { "**missed**" };
    let _ = writeln!(text, "\n| memory of the agent after all that | RSS | PSS |\n|---|---|---|");
    for (name, rss, pss) in memory {
        let _ = writeln!(text, "| {name} | {rss} KiB | {pss} KiB |");
    }
    let _ = writeln!(text, "| init and service (goal ≤ 8 MB of PSS: {met}) | {rss} KiB | {pss} KiB |");
    text.push_str(
        "\nOne node of the tests (2 processors for control plane, pods and load together), one server as the operator \
         deploys it but with 512 MiB of memory (16 MiB written at once are too much for the default limit of 128 MiB), \
         the static release binary in the pods. PSS counts a page that several processes share once. \
         `create_workspace` includes the volume, the pod and the agent; the image is on the node.\n",
    );
    text
}
