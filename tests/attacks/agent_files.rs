//! What file tools and commands were not meant for in a pod: to reach the files and processes of the workspace agent.

use crate::pod::{Pod, failure, refused};
use portcullis_agent::protocol::{
    EditFile, FailureKind, ListFiles, MovePath, ReadFile, RemovePath, SearchFiles, WriteFile,
};
use std::{fs, os::unix::fs::symlink};

const KERNEL: &str = "is in /proc, /sys, /dev or another file system of the kernel's";
const AGENT: &str = "belongs to the workspace's agent";

/// In a pod, a file is written, moved or edited over the agent's binary, which the server would run then → refused, and
/// it is as it was.
#[tokio::test]
async fn the_agents_binary_is_replaced() {
    let pod = Pod::start().await;
    let (binary, before) = (pod.path("run/portcullis"), fs::metadata(pod.run().join("portcullis")).unwrap().len());
    fs::write(pod.home().join("mine"), "#!/bin/sh\n").unwrap();
    symlink("../run", pod.home().join("link")).unwrap();
    for path in [binary.clone(), "../run/portcullis".to_owned(), "link/portcullis".to_owned()] {
        let writing = WriteFile { path: path.clone(), content: "#!/bin/sh\n".to_owned(), ..WriteFile::default() };
        refused(pod.client.write_file(&writing).await, AGENT);
        let moving = MovePath { from: "mine".to_owned(), to: path.clone(), overwrite: true };
        refused(pod.client.move_path(&moving).await, AGENT);
        let moving = MovePath { from: path.clone(), to: "taken".to_owned(), overwrite: true };
        refused(pod.client.move_path(&moving).await, AGENT);
        refused(pod.client.remove_path(&RemovePath { path, recursive: true }).await, AGENT);
    }
    assert_eq!(fs::metadata(pod.run().join("portcullis")).unwrap().len(), before);
    assert!(pod.client.hello().await.is_ok());
    pod.stop().await;
}

/// In a pod, a file is put into the folder of the agent's socket, or the socket is moved or removed, alone or with the
/// folders around it → refused, and the agent answers.
#[tokio::test]
async fn the_agents_socket_is_replaced() {
    let pod = Pod::start().await;
    for path in ["run/agent.sock", "run/other.sock", "run/new/folder"] {
        let writing = WriteFile { path: pod.path(path), ..WriteFile::default() };
        refused(pod.client.write_file(&writing).await, AGENT);
    }
    for path in ["run/agent.sock", "run"] {
        let removing = RemovePath { path: pod.path(path), recursive: true };
        refused(pod.client.remove_path(&removing).await, AGENT);
        let moving = MovePath { from: pod.path(path), to: "taken".to_owned(), overwrite: false };
        refused(pod.client.move_path(&moving).await, AGENT);
    }
    let around = RemovePath { path: pod.path(""), recursive: true };
    assert!(pod.client.remove_path(&around).await.is_err());
    assert!(fs::metadata(pod.run().join("agent.sock")).is_ok() && pod.client.hello().await.is_ok());
    pod.stop().await;
}

/// In a pod, the output of commands, which answers name, is read, changed and removed → it can be read only.
#[tokio::test]
async fn the_output_of_commands() {
    let pod = Pod::start().await;
    let ran = pod.run_line("head -c 100000 /dev/zero | tr '\\0' x").await;
    let output = ran.stdout_file.unwrap();
    let read = ReadFile { path: output.clone(), ..ReadFile::default() };
    assert_eq!(pod.client.read_file(&read).await.unwrap().size, 100_000);
    let list = ListFiles { path: Some(pod.path("run/output")), depth: None, ..ListFiles::default() };
    assert_eq!(pod.client.list_files(&list).await.unwrap().entries.len(), 1);
    refused(pod.client.write_file(&WriteFile { path: output.clone(), ..WriteFile::default() }).await, AGENT);
    let edit = EditFile { path: output.clone(), old_text: "x".to_owned(), new_text: "y".to_owned(), replace_all: true };
    refused(pod.client.edit_file(&edit).await, AGENT);
    refused(pod.client.remove_path(&RemovePath { path: output, recursive: false }).await, AGENT);
    pod.stop().await;
}

/// In a pod, the template's Secrets are looked for in the agent's own processes, by file tools and by hand → commands
/// have them, the environments of the agent's processes do not.
#[tokio::test]
async fn secrets_in_the_agents_environment() {
    let pod = Pod::start().await;
    assert_eq!(pod.run_line("echo $TEMPLATE_SECRET").await.stdout, format!("{}\n", Pod::SECRET));
    for path in ["/proc/self/environ", "/proc/1/environ", "/proc/thread-self/environ"] {
        let read = ReadFile { path: path.to_owned(), ..ReadFile::default() };
        refused(pod.client.read_file(&read).await, KERNEL);
    }
    let search = SearchFiles {
        pattern: "TEMPLATE_SECRET".to_owned(),
        path: Some("/proc/self".to_owned()),
        ..SearchFiles::default()
    };
    refused(pod.client.search_files(&search).await, KERNEL);
    let processes = pod.processes();
    assert_eq!(processes.len(), 2, "{processes:?}");
    for id in processes {
        // Where the tests are root's, they may look.
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains(Pod::SECRET), "{id}");
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(Pod::SECRET), "{id}");
    }
    pod.stop().await;
}

/// In a pod, a command of the same user looks into the agent's processes: environment, memory, open files → the system
/// refuses it.
#[tokio::test]
async fn the_agents_memory_by_a_command() {
    let pod = Pod::start().await;
    for id in pod.processes() {
        for file in ["environ", "mem", "maps", "fd/0", "root/etc/passwd"] {
            let read = pod.run_line(&format!("head -c 1 /proc/{id}/{file} 2>&1 >/dev/null")).await;
            assert!(read.stdout.contains("ermission denied"), "{file}: {read:?}");
        }
    }
    // Its own it may.
    assert_eq!(pod.run_line("head -c 0 /proc/self/environ").await.exit_code, Some(0));
    pod.stop().await;
}

/// In a pod, a kernel file is asked for that no permission protects → `Denied`, as every refusal here, and not an error
/// that tells whether it is there.
#[tokio::test]
async fn what_is_there_is_not_told() {
    let pod = Pod::start().await;
    let mut said = Vec::new();
    for path in ["/proc/1/environ", "/proc/4194304/environ", "/sys/none", "/dev/none"] {
        let read = ReadFile { path: path.to_owned(), ..ReadFile::default() };
        let failure = failure(pod.client.read_file(&read).await);
        assert_eq!(failure.kind, FailureKind::Denied, "{failure}");
        said.push(failure.message.replace(path, ""));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    pod.stop().await;
}
