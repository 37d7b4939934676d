//! Every reader of this crate beside supervisord's own, on thousands of random
//! texts: both accept the same and read the same out of it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::expand::{Variable, Variables, expand};
use crate::ini::Ini;
use crate::value::{self, AutoRestart};
use crate::{glob, words};

/// What supervisord makes of each input: a list of answers, null where it
/// refuses.
const ORACLE: &str = r#"
import fnmatch, io, json, shlex, sys, warnings
warnings.simplefilter("ignore")
from supervisor import datatypes as d
from supervisor.options import UnhosedConfigParser, expand

def ini(text):
    parser = UnhosedConfigParser()
    # As a file that is opened as text: every end of a line is one.
    parser.read_file(io.StringIO(text, newline=None))
    return [[name, sorted([k, v] for k, v in parser.items(name))] for name in parser.sections()]

def restart(text):
    value = d.auto_restart(text)
    return {False: "never", d.RestartUnconditionally: "always"}.get(value, "unexpected")

READERS = {
    "ini": ini,
    "expand": lambda text: expand(text, {"name": "web", "num": 7, "below": -3}, "x"),
    "pairs": lambda text: sorted(d.dict_of_key_value_pairs(text).items()),
    "split": shlex.split,
    "integer": d.integer,
    "boolean": d.boolean,
    "bytes": d.byte_size,
    # No mode is beyond this.
    "octal": lambda text: d.octal_type(text) if d.octal_type(text) <= 0o7777 else None,
    # Python has a constant SIG_BLOCK, which is 0 and no signal.
    "signal": lambda text: d.signal_number(text) or None,
    "exit_codes": lambda text: sorted(set(d.list_of_exitcodes(text))),
    "restart": restart,
    "fits": lambda both: fnmatch.fnmatchcase(*both),
}
answers = []
for kind, text in json.load(sys.stdin):
    try:
        answers.append(READERS[kind](text))
    except Exception:
        answers.append(None)
json.dump(answers, sys.stdout)
"#;

fn ask(cases: &[(&str, Value)]) -> Vec<Value> {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let cases = serde_json::to_vec(cases).expect("JSON");
    let mut stdin = python.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(&cases));
    let output = python.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads");
    assert!(output.status.success(), "supervisor is installed");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What we make of it.
fn answer(kind: &str, input: &Value) -> Option<Value> {
    let text = input.as_str().unwrap_or("");
    match kind {
        "ini" => {
            let mut ini = Ini::default();
            if !ini.read(0, text).is_empty() {
                return None;
            }
            let entries = |section| {
                let mut keys: Vec<&str> = ini.keys(section).collect();
                keys.sort_unstable();
                keys.dedup();
                let pair =
                    |key: &str| json!([key, ini.entry(section, key).expect("it is there").value]);
                keys.into_iter().map(pair).collect::<Vec<_>>()
            };
            Some(
                ini.sections()
                    .map(|section| json!([section.name, entries(section)]))
                    .collect(),
            )
        }
        "expand" => {
            let variables: Variables = [
                ("name", Variable::from("web")),
                ("num", Variable::Number(7)),
                ("below", Variable::Number(-3)),
            ]
            .map(|(name, variable)| (name.to_owned(), variable))
            .into();
            expand(text, &variables).ok().map(Value::from)
        }
        "pairs" => words::pairs(text).ok().map(|mut pairs| {
            pairs.sort();
            json!(pairs)
        }),
        "split" => words::split(text).ok().map(Value::from),
        "integer" => value::integer(text).map(Value::from),
        "boolean" => value::boolean(text).map(Value::from),
        "bytes" => value::bytes(text).map(Value::from),
        "octal" => value::octal(text).map(Value::from),
        "signal" => value::signal(text).map(|signal| signal.number().into()),
        "exit_codes" => {
            value::exit_codes(text).map(|codes| codes.iter().collect::<Vec<u8>>().into())
        }
        "restart" => value::auto_restart(text).map(|restart| match restart {
            AutoRestart::Always => "always".into(),
            AutoRestart::Never => "never".into(),
            AutoRestart::Unexpected => "unexpected".into(),
        }),
        "fits" => {
            let word = |at: usize| input.get(at).and_then(Value::as_str).unwrap_or("");
            Some(glob::fits(word(0), word(1)).into())
        }
        other => panic!("no reader is named {other}"),
    }
}

/// Texts out of pieces that mean something to one of the readers.
fn soup(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces), 0..most).prop_map(|words| words.concat())
}

#[track_caller]
fn agree(kind: &'static str, count: usize, inputs: impl Strategy<Value = Value>) {
    let mut runner = TestRunner::deterministic();
    let mut draw = || inputs.new_tree(&mut runner).expect("a value").current();
    let cases: Vec<(&str, Value)> = (0..count).map(|_| (kind, draw())).collect();
    let mut accepted = 0;
    for ((_, input), theirs) in cases.iter().zip(ask(&cases)) {
        let ours = answer(kind, input).unwrap_or(Value::Null);
        assert_eq!(ours, theirs, "{kind} of {input}");
        accepted += usize::from(!theirs.is_null());
    }
    assert!(
        accepted * 20 > count,
        "of {count} only {accepted} mean anything"
    );
}

fn texts(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = Value> {
    soup(pieces, most).prop_map(Value::from)
}

#[test]
fn files_are_read_alike() {
    let pieces: &[&str] = &[
        "[a]\n",
        "[b]\n",
        "[a]",
        "[DEFAULT]\n",
        "[x]y]\n",
        "key = v\n",
        "Key: w\n",
        "k=\n",
        " = x\n",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "  more\n",
        "    even more\n",
        "; c\n",
        "# c\n",
        " ; c",
        " # c",
        ";",
        "#",
        "a;b",
        "é",
        "\u{a0}",
        "=",
        ":",
        "word",
        "key = 'a ;b'\n",
        "k = a\n  b\n\n  c\n",
    ];
    // The most of them begin with a section, or nothing would come of them.
    let texts = (any::<u8>(), soup(pieces, 14)).prop_map(|(first, rest)| {
        Value::from(if first < 20 {
            rest
        } else {
            format!("[s]\n{rest}")
        })
    });
    agree("ini", 6000, texts);
}

#[test]
fn texts_are_filled_in_alike() {
    // Without a name Python fills in the whole table, and `%(x)r` and floats
    // are of no use to anybody: we refuse them.
    let pieces: &[&str] = &[
        "%(name)s",
        "%(num)d",
        "%(num)02d",
        "%(below)03d",
        "%(num)x",
        "%(name)5s",
        "%(name)-5s|",
        "%(num)+d",
        "%(num)s",
        "%(below) d",
        "%(name).2s",
        "%(num).3d",
        "%%",
        "text",
        " ",
        "%(nobody)s",
        "%(name)d",
        "%(num",
        "%(num)-4d|",
        "%(below)x",
        "%(num)#o",
        "%(name)ls",
        "%()s",
    ];
    agree("expand", 4000, texts(pieces, 3));
}

#[test]
fn environments_and_commands_are_split_alike() {
    let pieces: &[&str] = &[
        "A",
        "=",
        "B=1",
        ",",
        "\"x y\"",
        "'it'",
        "a'b",
        "\"",
        "'",
        " ",
        "\n",
        "#c",
        "/usr/bin:/bin",
        "é",
        "A=\"1\",",
        "C='2',",
        "D=3",
        "\\",
        "%",
        "x=y,",
        "\"a,b\"",
        "''",
    ];
    agree("pairs", 6000, texts(pieces, 6));
    agree("split", 6000, texts(pieces, 6));
}

#[test]
fn values_are_read_alike() {
    let pieces: &[&str] = &[
        "1", "0", "7", "_", "-", "+", " ", "255", "256", "x", "9", "00", "\n",
    ];
    agree("integer", 3000, texts(pieces, 4));
    let pieces: &[&str] = &[
        "yes",
        "no",
        "TRUE",
        "False",
        "on",
        "Off",
        "1",
        "0",
        "unexpected",
        "Unexpected",
        " ",
    ];
    agree("boolean", 300, texts(pieces, 2));
    agree("restart", 300, texts(pieces, 2));
    let pieces: &[&str] = &["1", "50", "MB", "kb", "Gb", "B", " ", "T", "0"];
    agree("bytes", 2000, texts(pieces, 4));
    let pieces: &[&str] = &["0", "2", "7", "o", "0o", "8", "22", " "];
    agree("octal", 2000, texts(pieces, 4));
    let pieces: &[&str] = &["0", "2", "255", "256", ",", " ", "-", ",,"];
    agree("exit_codes", 3000, texts(pieces, 5));
    let pieces: &[&str] = &[
        "TERM", "sig", "SIG", "KILL", "hup", "9", "37", "64", "65", "CLD", "POLL", "IOT", "RTMIN",
        "RTMAX", "+3", " ", "STKFLT", "0",
    ];
    agree("signal", 3000, texts(pieces, 3));
}

#[test]
fn names_fit_patterns_alike() {
    let patterns = soup(
        &[
            "a", "b", "*", "?", "[ab]", "[!a]", "[a-c]", "[", "]", "-", ".",
        ],
        6,
    );
    let names = soup(&["a", "b", "c", ".", "-", "]", "["], 5);
    agree(
        "fits",
        6000,
        (names, patterns).prop_map(|(name, pattern)| json!([name, pattern])),
    );
}
