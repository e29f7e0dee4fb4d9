//! helm and the judges of its output, which `tests/chart/tools/build.sh` makes.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/portcullis");
pub const RELEASE: &str = "portcullis";
pub const NAMESPACE: &str = "portcullis-system";

/// A tool, to be run.
pub fn tool(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/tools/build.sh");
        let output = Command::new("bash").arg(script).stderr(Stdio::inherit()).output().expect("bash runs build.sh");
        assert!(output.status.success(), "{script} failed, see above");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    });
    Command::new(folder.join(name))
}

/// Runs a command with this on its standard input.
pub fn feed(command: &mut Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the tool starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads its input");
    child.wait_with_output().expect("it ends")
}

/// `helm template` of the chart, tests left out.
pub fn template(args: &[&str]) -> Output {
    let own = ["template", RELEASE, CHART, "--namespace", NAMESPACE, "--skip-tests"];
    tool("helm").args(own).args(args).output().unwrap()
}

/// What it renders with one of `tests/chart/values`; without, with its defaults.
pub fn rendered(values: Option<&str>) -> String {
    let file = values.map(|name| format!("--values={}", values_file(name).display()));
    let output = template(&file.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn values_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/values").join(name).with_extension("yaml")
}
