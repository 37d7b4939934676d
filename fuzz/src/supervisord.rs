//! supervisord.conf: a file and those that it includes, divided by lines of two
//! dashes.

use std::io;

use holdall_protocol::{Manifest, Reader};
use holdall_supervisord::{ConfError, Files, Surroundings};

/// The first is the file, the others lie beside it as `1.conf` and so on.
struct Parts(Vec<String>);

impl Files for Parts {
    fn read(&mut self, path: &str) -> io::Result<String> {
        let name = path.strip_prefix("/etc/").unwrap_or(path);
        let number = match name.strip_suffix(".conf") {
            Some("supervisord") => Some(0),
            other => other.and_then(|number| number.parse::<usize>().ok()),
        };
        let text = number.and_then(|number| self.0.get(number));
        text.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        match folder.trim_end_matches('/') {
            "" => vec!["etc".to_owned()],
            "/etc" => (1..self.0.len())
                .map(|number| format!("{number}.conf"))
                .collect(),
            _ => Vec::new(),
        }
    }
}

pub(crate) fn run(data: &[u8]) {
    let parts = crate::parts(data);
    let texts = parts
        .iter()
        .map(|part| String::from_utf8_lossy(part).into_owned());
    let mut files = Parts(texts.collect());
    for as_it_is in [false, true] {
        let around = Surroundings {
            env: [("HOME".to_owned(), "/root".to_owned())].into(),
            host: "box".to_owned(),
            folder: "/etc".to_owned(),
            as_it_is,
        };
        match holdall_supervisord::read("supervisord.conf", &mut files, &around) {
            Ok(converted) => {
                let text = holdall_supervisord::to_toml(&converted, "supervisord.conf");
                let read = Manifest::from_toml(&text, Reader::Design);
                assert_eq!(read.as_ref(), Ok(&converted.manifest), "{text}");
                assert_eq!(converted.names.len(), converted.manifest.services.len());
            }
            Err(ConfError::Wrong { text, .. }) => assert!(text.starts_with("/etc/"), "{text}"),
            Err(ConfError::Read { .. }) => assert!(files.0.is_empty()),
        }
    }
}
