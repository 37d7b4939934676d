//! A shell that pages are typed into.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::page::Step;
use super::words;
use crate::env::{Env, free_port};
use crate::eventually::{LONG, eventually};

/// The port of the machine that the pages publish on.
const PORT: &str = "8080";

/// Commands that only look: a reader looks again until it is as shown.
const LOOKS: [&str; 3] = ["holdall ps", "holdall logs", "curl "];

/// After each command's output; no output holds it.
const END: &str = "\u{1}end";

#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: PathBuf,
    port: String,
}

impl Shell {
    /// In a folder of this name, with `holdall` on the path. It is empty, but
    /// in a kept root: that has the holdall.lock of the last time.
    pub(super) fn new(env: &Env, name: &str) -> Self {
        let folder = env.root().join("typed").join(name);
        std::fs::create_dir_all(&folder).expect("a folder below the root");
        let programs = Path::new(env!("CARGO_BIN_EXE_holdall")).parent();
        let programs = programs.expect("a program lies in a folder").display();
        let mut child = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .current_dir(&folder)
            .env("HOLDALL_ROOT", env.root())
            .env("PATH", format!("{programs}:/usr/sbin:/usr/bin:/sbin:/bin"))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bash can be started");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let input = child.stdin.take();
        Self {
            child,
            input,
            output,
            folder,
            port: free_port().to_string(),
        }
    }

    /// What it prints on either stream, and how it ended.
    fn run(&mut self, typed: &str) -> (String, i32) {
        let typed = typed.replace(PORT, &self.port);
        let input = self.input.as_mut().expect("open until dropped");
        let line = format!("{{\n{typed}}} </dev/null 2>&1\nprintf '\\n{END} %s\\n' $?\n");
        input.write_all(line.as_bytes()).expect("bash reads");
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("UTF-8");
            assert_ne!(read, 0, "bash has ended in {typed}{printed}");
            match line.strip_prefix(END) {
                Some(code) => return (printed, code.trim().parse().expect("a code")),
                None => printed.push_str(&line),
            }
        }
    }

    /// Types it; what is printed must be what the page shows. Where the page
    /// shows no error, the command must succeed.
    pub(super) fn step(&mut self, place: &str, step: &Step) {
        let may_fail = step
            .printed
            .as_ref()
            .is_some_and(|text| text.lines().any(|line| line.starts_with("error: ")));
        let mut once = || {
            let (printed, code) = self.run(&step.typed);
            let as_shown = match &step.printed {
                Some(shown) => words::match_text(&shown.replace(PORT, &self.port), &printed),
                None => true,
            };
            if as_shown && (code == 0 || may_fail) {
                return Ok(());
            }
            let shown = step.printed.as_deref().unwrap_or_default();
            Err(format!(
                "ended with {code}\nshown:\n{shown}\nprinted:\n{printed}"
            ))
        };
        let typed = format!("{place}: {}", step.typed);
        if LOOKS.iter().any(|look| step.typed.starts_with(look)) {
            eventually(&typed, LONG, once);
        } else if let Err(reason) = once() {
            panic!("{typed}{reason}");
        }
    }

    /// Copies what lies in a folder into that of the shell.
    pub(super) fn copy(&self, from: &Path) {
        let mut copy = Command::new("cp");
        let done = copy
            .arg("-a")
            .arg(from.join("."))
            .arg(&self.folder)
            .status();
        assert!(done.expect("cp can be started").success());
    }

    /// Writes a file that the page shows. `path` begins in the page's folder.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        let folder = path.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder).expect("a folder below the root");
        std::fs::write(path, text).expect("a file below the root");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.input.take());
        let _status = self.child.wait();
    }
}
