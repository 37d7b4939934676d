use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use super::*;

/// An init that greets and gives these answers, whatever it is asked.
fn answering(directory: &Path, answers: Vec<Response>) -> std::thread::JoinHandle<()> {
    let listener = UnixListener::bind(directory.join(SOCKET_NAME)).expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let hello = Hello {
            version: PROTOCOL_VERSION,
            program: "test".into(),
        };
        stream
            .write_all(&frame::encode(&hello).expect("framed"))
            .expect("greeted");
        for answer in answers {
            stream
                .write_all(&frame::encode(&answer).expect("framed"))
                .expect("answered");
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("read to the end");
    })
}

#[test]
fn a_refusal_comes_back_in_inits_own_words() {
    let directory = tempfile::tempdir().expect("directory");
    let refusal = Response::Error {
        kind: ErrorKind::UnknownService,
        message: "no service \"wep\"".into(),
    };
    let init = answering(directory.path(), vec![Response::Done, refusal]);
    let mut client = ControlClient::connect(directory.path()).expect("connected");
    assert_eq!(client.peer().program, "test");
    client.stop(&[]).expect("done");
    let error = client
        .restart(&["wep".parse().expect("a name")])
        .expect_err("refused");
    assert_eq!(error.to_string(), "no service \"wep\"");
    drop(client);
    init.join().expect("ended");
}

#[test]
fn an_init_that_hangs_up_is_an_error_and_not_a_hang() {
    let directory = tempfile::tempdir().expect("directory");
    let listener = UnixListener::bind(directory.path().join(SOCKET_NAME)).expect("bound");
    let init = std::thread::spawn(move || drop(listener.accept()));
    let error = ControlClient::connect(directory.path()).expect_err("closed");
    assert!(
        matches!(error, ControlError::Closed | ControlError::Talk(_)),
        "{error:?}"
    );
    init.join().expect("ended");
}

#[test]
fn nobody_there_names_the_socket() {
    let directory = tempfile::tempdir().expect("directory");
    let error = ControlClient::connect(directory.path()).expect_err("nobody");
    assert!(error.to_string().ends_with("control.sock"), "{error}");
}
