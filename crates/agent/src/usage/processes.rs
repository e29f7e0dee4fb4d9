//! The resource usage of process groups, from `/proc/PID/stat` (proc_pid_stat(5)).

use crate::protocol::Amount;
use crate::usage::Sample;
use nix::unistd::{SysconfVar, sysconf};
use std::{collections::BTreeSet, fs};

/// Measures all processes in the groups. Memory that they share is counted once for each.
pub(super) fn sample(groups: &BTreeSet<u32>) -> Sample {
    let Ok(processes) = fs::read_dir("/proc") else { return Sample::default() };
    let Some((tick, page)) = unit(SysconfVar::CLK_TCK).zip(unit(SysconfVar::PAGE_SIZE)) else {
        return Sample::default();
    };
    let (mut ticks, mut pages) = (0.0, 0.0);
    for process in processes.flatten() {
        // A process that has ended in the meantime uses nothing.
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        if let Some(stat) = Stat::read(&stat).filter(|stat| groups.contains(&stat.group)) {
            ticks += stat.ticks;
            pages += stat.pages;
        }
    }
    Sample {
        cpu_seconds: Some(ticks / tick),
        cpu_limit: None,
        memory: Amount { used: Some(pages * page), limit: None },
    }
}

fn unit(variable: SysconfVar) -> Option<f64> {
    sysconf(variable).ok().flatten().and_then(|value| u32::try_from(value).ok()).map(f64::from)
}

/// The fields of one process.
#[derive(Debug, PartialEq)]
struct Stat {
    group: u32,
    /// The CPU time in clock ticks: of the process, and of the children that it has waited for.
    ticks: f64,
    /// The resident set size, in pages.
    pages: f64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The second field is the name of the program in parentheses, which may contain any characters. The numbers
        // below are the field numbers of the manual, from 1.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self {
            group: fields.get(5 - 3)?.parse().ok()?,
            ticks: number(14)? + number(15)? + number(16)? + number(17)?,
            pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let numbers = "S 1 4242 4242 0 -1 4194560 2540 9917 0 3 11 7 20 2 20 0 1 0 35 6254592 901 184467 1 1 0 0";
        let expected = Some(Stat { group: 4242, ticks: 40.0, pages: 901.0 });
        for name in ["bash", "a b", ") R 1 (", "a\nb"] {
            assert_eq!(Stat::read(&format!("77 ({name}) {numbers}")), expected, "{name}");
        }
        for wrong in ["", "77 (bash", "77 (bash) S 1", "77 (bash) S 1 x 2"] {
            assert_eq!(Stat::read(wrong), None, "{wrong}");
        }
    }
}
