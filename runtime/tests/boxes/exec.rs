//! Programs in running boxes. An exec uses the standard streams of its caller,
//! so the caller is this program once more.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Output, Stdio};

use holdall_runtime::boxes::{BoxError, BoxId, Boxes, ExecOptions};
use holdall_runtime::dirs::Dirs;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::tests;
use crate::world::{World, eventually, processes};

tests![
    an_exec_in_a_foreign_box_has_the_callers_streams_and_its_own_code,
    an_exec_with_a_terminal_gets_one_of_the_boxs_own,
    a_program_that_is_not_there_or_not_executable_has_dockers_code,
    an_exec_has_its_own_user_folder_and_variables,
    a_box_that_does_not_run_refuses_an_exec,
];

/// The word that makes this program the caller of an exec.
const EXEC: &str = "__exec";

/// The caller of an exec, if this process is one: ROOT ID FLAGS ARGV….
pub(crate) fn child() -> Option<ExitCode> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some(EXEC) {
        return None;
    }
    let root = words.next().expect("a root");
    let id: BoxId = words.next().expect("an id").parse().expect("an id");
    let flags = words.next().expect("flags");
    let boxes = Boxes::open(Dirs::under(Path::new(&root))).expect("boxes");
    let options = ExecOptions {
        argv: words.collect(),
        env: vec![("EXTRA".into(), "yes".into())],
        dir: flags.contains('d').then(|| "/tmp".into()),
        user: flags.contains('u').then(|| "shop".into()),
        tty: flags.contains('t'),
        interactive: flags.contains('i'),
    };
    Some(match boxes.exec(&id, &options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", crate::world::chain(&error));
            ExitCode::from(error.exit_code())
        }
    })
}

/// A caller, not yet started.
pub(crate) fn exec(world: &World, id: &BoxId, flags: &str, argv: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .arg(EXEC)
        .arg(world.path())
        .args([id.as_str(), flags])
        .args(argv);
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawned");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A program that doesn't read is no failure.
    let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("ended");
    writing.join().expect("written");
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A caller on a terminal of 40 × 100, and the terminal's other end.
pub(crate) fn on_terminal(command: &mut Command) -> (Child, File, OwnedFd) {
    let size = Winsize {
        ws_row: 40,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal");
    let own = || Stdio::from(slave.try_clone().expect("cloned"));
    let child = command
        .stdin(own())
        .stdout(own())
        .stderr(own())
        .spawn()
        .expect("spawned");
    (child, master.into(), slave)
}

/// Reads from a terminal until this text has come.
pub(crate) fn read_until(terminal: &mut File, wanted: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let mut buffer = [0; 1024];
        let count = terminal.read(&mut buffer).expect("read");
        seen.push_str(&text(&buffer[..count]));
    }
    seen
}

fn foreign() -> (World, BoxId) {
    let world = World::new();
    let record = world.create(world.script("echo ready; sleep 1000"));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "ready");
    (world, record.id)
}

pub(crate) fn streams_and_code(world: &World, id: &BoxId) {
    let script = "cat; echo err >&2; exit 9";
    let output = run(
        &mut exec(world, id, "i", &["sh", "-c", script]),
        "from outside\n",
    );
    assert_eq!(
        text(&output.stdout),
        "from outside\n",
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(9));
    // Without -i it reads nothing, and doesn't wait either.
    let output = run(&mut exec(world, id, "", &["cat"]), "ignored");
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), String::new())
    );
    // Much of it, whole.
    let big = "0123456789abcde\n".repeat(64 * 1024);
    let output = run(&mut exec(world, id, "i", &["cat"]), &big);
    assert!(text(&output.stdout) == big, "{} bytes", output.stdout.len());
    // A signal of the caller's is the program's.
    let script = "trap 'exit 6' TERM; echo here; while :; do sleep 1 & wait $!; done";
    let mut child = exec(world, id, "", &["sh", "-c", script])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("spawned");
    let mut word = [0; 5];
    child
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut word)
        .expect("read");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("sent");
    assert_eq!(child.wait().expect("ended").code(), Some(6));
    // Also while it writes faster than anybody reads.
    let mut child = exec(world, id, "", &["/bin/busybox", "yes"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("spawned");
    let mut stdout = child.stdout.take().expect("piped");
    let mut read_slowly = move || {
        // So slowly that the next bytes are always there.
        nix::poll::poll(&mut [], nix::poll::PollTimeout::from(1_u8)).expect("waited");
        stdout.read(&mut [0; 4096]).expect("read")
    };
    // Until every pipe on the way is full, and stays so.
    let read: usize = (0..256).map(|_| read_slowly()).sum();
    assert!(read > 0, "it writes");
    let reading = std::thread::spawn(move || while read_slowly() > 0 {});
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("sent");
    let mut ended = None;
    eventually("the program to end", || {
        ended = child.try_wait().expect("waited");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(143));
    reading.join().expect("no panic");
    a_reader_that_stopped(world, id);
}

/// Nobody reads, and yet the signal reaches the program; its end is known by
/// whoever reads on, or by the next signal.
fn a_reader_that_stopped(world: &World, id: &BoxId) {
    for reads_on in [true, false] {
        let words = format!("unread-{reads_on}-{id}");
        let mut child = exec(world, id, "", &["/bin/busybox", "yes", &words])
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("spawned");
        let yes = format!("/bin/busybox\0yes\0{words}");
        let running = || !processes(|line| line.starts_with(&yes)).is_empty();
        eventually("the program", running);
        // It has more to say than all buffers on the way hold.
        let mut stdout = child.stdout.take().expect("piped");
        stdout.read_exact(&mut [0; 1 << 20]).expect("read");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let term = || nix::sys::signal::kill(pid, Signal::SIGTERM).expect("sent");
        term();
        eventually("the program's end", || !running());
        if reads_on {
            let _rest = stdout.read_to_end(&mut Vec::new()).expect("read");
        } else {
            // Each that comes before the end was seen is the program's.
            eventually("the caller's end", || {
                let ended = child.try_wait().expect("waited").is_some();
                if !ended {
                    term();
                }
                ended
            });
        }
        assert_eq!(child.wait().expect("ended").code(), Some(143));
    }
}

pub(crate) fn terminal(world: &World, id: &BoxId) {
    let script = "tty; stty size; read line; echo got $line; \
        while [ \"$(stty size)\" = '40 100' ]; do sleep 0.05; done; stty size; exit 8";
    let (mut child, mut terminal, slave) =
        on_terminal(&mut exec(world, id, "it", &["sh", "-c", script]));
    let seen = read_until(&mut terminal, "40 100");
    assert!(seen.contains("/dev/pts/"), "{seen}");
    let raw = || {
        let modes = tcgetattr(slave.as_fd()).expect("modes");
        !modes.local_flags.contains(LocalFlags::ICANON)
    };
    eventually("raw mode", raw);
    let size = libc_size(50, 120);
    resize(&terminal, &size);
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGWINCH).expect("sent");
    terminal.write_all(b"words\r").expect("typed");
    let seen = read_until(&mut terminal, "50 120");
    assert!(seen.contains("got words"), "{seen}");
    assert_eq!(child.wait().expect("ended").code(), Some(8));
    assert!(!raw(), "the terminal is as it was");
    // The end of an input that is no terminal is the end of the program's.
    for input in ["whole line\n", "half a line", ""] {
        let output = run(&mut exec(world, id, "it", &["cat"]), input);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.starts_with(input.trim_end()), "{said:?}");
    }
}

fn libc_size(rows: u16, columns: u16) -> [u16; 2] {
    [rows, columns]
}

/// By the program that does just that: an ioctl would need unsafe code here.
fn resize(terminal: &File, [rows, columns]: &[u16; 2]) {
    let status = Command::new("stty")
        .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
        .stdin(Stdio::from(terminal.try_clone().expect("cloned")))
        .status()
        .expect("stty");
    assert!(status.success());
}

pub(crate) fn dockers_codes(world: &World, id: &BoxId) {
    let output = run(&mut exec(world, id, "", &["no-such-program"]), "");
    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stderr),
        "cannot execute \"no-such-program\" in box shop: no such program\n"
    );
    let output = run(&mut exec(world, id, "", &["/etc/passwd"]), "");
    assert_eq!(output.status.code(), Some(126), "{}", text(&output.stderr));
    let output = run(&mut exec(world, id, "", &["sh", "-c", "kill -9 $$"]), "");
    assert_eq!(output.status.code(), Some(137), "{}", text(&output.stderr));
}

fn an_exec_in_a_foreign_box_has_the_callers_streams_and_its_own_code() {
    let (world, id) = foreign();
    streams_and_code(&world, &id);
}

fn an_exec_with_a_terminal_gets_one_of_the_boxs_own() {
    let (world, id) = foreign();
    terminal(&world, &id);
}

fn a_program_that_is_not_there_or_not_executable_has_dockers_code() {
    let (world, id) = foreign();
    dockers_codes(&world, &id);
}

fn an_exec_has_its_own_user_folder_and_variables() {
    let (world, id) = foreign();
    let script = "id -u; pwd; echo $EXTRA";
    let output = run(&mut exec(&world, &id, "ud", &["sh", "-c", script]), "");
    assert_eq!(
        text(&output.stdout),
        "1234\n/tmp\nyes\n",
        "{}",
        text(&output.stderr)
    );
}

fn a_box_that_does_not_run_refuses_an_exec() {
    let world = World::new();
    let record = world.create(world.script("true"));
    let options = ExecOptions {
        argv: vec!["true".into()],
        ..ExecOptions::default()
    };
    let error = world
        .boxes
        .exec(&record.id, &options)
        .expect_err("it doesn't run");
    assert!(matches!(error, BoxError::NotRunning(_)), "{error:?}");
    assert_eq!((error.exit_code(), error.hint().is_some()), (125, true));
}
