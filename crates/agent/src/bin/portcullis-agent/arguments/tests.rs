use super::*;
use portcullis_core::agent_paths::{BINARY, CONNECT_COMMAND, INSTALL_ARGUMENTS, INSTALL_DIR, RUN_COMMAND};

fn words(line: &[&str]) -> Vec<OsString> {
    line.iter().map(Into::into).collect()
}

fn parsed(line: &[&str]) -> Result<Request, ArgumentError> {
    parse(words(line), |_| None)
}

fn command(line: &[&str]) -> Command {
    match parsed(line) {
        Ok(Request::Command(command)) => command,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn running(options: RunOptions, stage: Stage, given: &[&str]) -> Command {
    Command::Run { options, stage, given: words(given) }
}

/// Servers and pods of earlier releases use these command lines, and the admission policy on exec names one of them.
#[test]
fn the_command_lines_of_earlier_releases_stay() {
    assert_eq!(INSTALL_ARGUMENTS, ["agent", "install", "/run/portcullis"]);
    assert_eq!(RUN_COMMAND, ["/run/portcullis/portcullis", "agent", "run"]);
    assert_eq!(CONNECT_COMMAND, ["/run/portcullis/portcullis", "agent", "connect"]);
    assert_eq!(BINARY, "/run/portcullis/portcullis");
    let socket = || PathBuf::from("/run/portcullis/agent.sock");

    assert_eq!(command(&["agent", "install", "/run/portcullis"]), Command::Install { folder: INSTALL_DIR.into() });
    let connect = command(&["agent", "connect"]);
    assert_eq!(connect, Command::Connect { socket: socket(), stage: Stage::Called, given: vec![] });
    let connect = command(&["agent", "connect", "--bare"]);
    assert_eq!(connect, Command::Connect { socket: socket(), stage: Stage::Bare, given: words(&["--bare"]) });
    assert_eq!(command(&["agent", "run"]), running(RunOptions::default(), Stage::Called, &[]));
    // The arguments for `pod.command`.
    let program = ["--", "postgres", "--", "-D", "--help"];
    let line = [&["agent", "run"][..], &program].concat();
    let options =
        RunOptions { program: ["postgres", "--", "-D", "--help"].map(str::to_owned).into(), ..RunOptions::default() };
    assert_eq!(command(&line), running(options, Stage::Called, &program));
}

#[test]
fn the_word_agent_may_be_left_out() {
    for line in [&["run", "--shell", "/bin/bash", "--", "sleep", "1"][..], &["connect"], &["install", "/agent"]] {
        assert_eq!(command(line), command(&[&["agent"], line].concat()), "{line:?}");
    }
}

#[test]
fn the_next_process_gets_the_same_arguments() {
    let given = ["--home", "/work", "--", "a", "--bare"];
    let Command::Run { options, stage: Stage::Called, given: passed_on } =
        command(&[&["agent", "run"][..], &given].concat())
    else {
        panic!("it was called")
    };
    assert_eq!(passed_on, words(&given));
    for (added, expected) in [(&["--bare"][..], Stage::Bare), (&["--service", "--bare"], Stage::Service)] {
        let given = [added, &given].concat();
        let next = command(&[&["agent", "run"][..], &given].concat());
        assert_eq!(next, running(options.clone(), expected, &given), "{added:?}");
    }
}

#[test]
fn every_option_of_run_is_read() {
    let given = [
        "--home=/work",
        "--socket",
        "/s/agent.sock",
        "--output",
        "/o",
        "--shell",
        "/bin/bash",
        "--patience",
        "3",
        "--termination-log",
        "/t",
    ];
    let options = RunOptions {
        home: Some("/work".into()),
        socket: "/s/agent.sock".into(),
        output: "/o".into(),
        shell: "/bin/bash".into(),
        patience: Duration::from_secs(3),
        termination_log: "/t".into(),
        program: vec![],
    };
    assert_eq!(command(&[&["run"][..], &given].concat()), running(options, Stage::Called, &given));
}

#[test]
fn an_option_counts_before_the_variable() {
    let home = |line: &[&str], value: &str| {
        let variable = |name| (name == "PORTCULLIS_HOME").then(|| value.into());
        match parse(words(line), variable) {
            Ok(Request::Command(Command::Run { options, .. })) => options.home,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(home(&["run"], "/variable"), Some("/variable".into()));
    assert_eq!(home(&["run", "--home", "/option"], "/variable"), Some("/option".into()));
    assert_eq!(home(&["run"], ""), None);
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    for (line, said) in [
        (&[][..], "name a command: install, run or connect"),
        (&["agent"], "name a command: install, run or connect"),
        (&["serve"], "there is no command \"serve\""),
        (&["install"], "the folder to install into is missing"),
        (&["install", "/a", "/b"], "\"/b\""),
        (&["run", "sleep"], "\"sleep\""),
        (&["run", "--home"], "--home"),
        (&["run", "--patience", "long"], "\"long\""),
        (&["run", "--color"], "--color"),
        (&["connect", "--home", "/"], "--home"),
        (&["connect", "--", "sleep"], "\"sleep\""),
    ] {
        let error = parsed(line).unwrap_err();
        let shown = portcullis_core::report::chain(&error);
        assert!(shown.contains(said), "{line:?}: {shown}");
    }
}

#[test]
fn help_and_version_are_there_everywhere() {
    for line in [&["--help"][..], &["-h"], &["agent", "help"], &["agent", "run", "-h"], &["connect", "--help"]] {
        assert_eq!(parsed(line).unwrap(), Request::Help, "{line:?}");
    }
    assert_eq!(parsed(&["--version"]).unwrap(), Request::Version);
    for option in ["--home", "--socket", "--output", "--shell", "--patience"] {
        assert!(HELP.contains(option), "{option}");
    }
    for default in [SOCKET, OUTPUT_DIR, HOME_VARIABLE] {
        assert!(HELP.contains(default), "{default}");
    }
}
