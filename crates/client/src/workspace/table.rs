//! The table of `ps`.

use super::wire::Process;
use std::fmt::Write as _;

/// The longest command line that is shown, in characters.
const MAX_COMMAND: usize = 100;

/// The processes as a table with a header.
#[must_use]
pub fn process_table(processes: &[Process]) -> String {
    let mut table = format!("{:>6}  {:<9}  {:<20}  COMMAND\n", "ID", "STATE", "STARTED");
    for process in processes {
        let state = match (process.running, process.exit_code) {
            (true, _) => "running".to_owned(),
            (false, Some(code)) => format!("exit {code}"),
            (false, None) => "ended".to_owned(),
        };
        // To the second.
        let started = process.started_at.split('.').next().unwrap_or_default();
        let started =
            if started.len() == process.started_at.len() { started.to_owned() } else { format!("{started}Z") };
        let command = one_line(&process.command);
        let _ = writeln!(table, "{:>6}  {state:<9}  {started:<20}  {command}", process.process_id);
    }
    table
}

/// A command line in one line, without control characters, cut to the limit.
fn one_line(command: &str) -> String {
    let mut shown: String = command.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_COMMAND).collect();
    if command.chars().nth(MAX_COMMAND).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_rows() {
        let process = |process_id, command: &str, running, exit_code| Process {
            process_id,
            command: command.to_owned(),
            running,
            exit_code,
            started_at: "2026-11-30T10:00:00.123456Z".to_owned(),
        };
        let long = "x".repeat(101);
        let table = process_table(&[
            process(12, "npm run dev\necho \u{1b}[2J", true, None),
            process(7, &long, false, Some(137)),
        ]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "    ID  STATE      STARTED               COMMAND");
        assert_eq!(lines[1], "    12  running    2026-11-30T10:00:00Z  npm run dev echo  [2J");
        assert!(lines[2].starts_with("     7  exit 137   ") && lines[2].ends_with('…'), "{}", lines[2]);
    }
}
