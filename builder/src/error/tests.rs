use super::*;

fn shown(error: &BuildError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    match error.hint() {
        Some(hint) => format!("{text}\n  help: {hint}"),
        None => text,
    }
}

#[test]
fn every_error_names_its_object_and_says_what_helps() {
    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    let path = || PathBuf::from("/p");
    let step = || "run make".to_owned();
    let found = Diagnostic {
        message: "unknown key `frm`".to_owned(),
        span: 0..3,
        help: Some("did you mean `from`?".to_owned()),
    };
    let all = [
        BuildError::Stopped,
        BuildError::NoContext { context: path() },
        BuildError::NoFile { context: path() },
        BuildError::Dockerfile { path: path() },
        BuildError::ReadFile {
            path: path(),
            source: refused(),
        },
        BuildError::invalid(
            Path::new("holdall.toml"),
            "frm = 1\n",
            &[found.clone(), found],
        ),
        BuildError::NoName,
        BuildError::BadName {
            name: "Shop".to_owned(),
            source: "Shop".parse::<holdall_image::Reference>().unwrap_err(),
        },
        BuildError::Epoch("now".to_owned()),
        BuildError::Lock {
            path: path(),
            reason: "it is too long".to_owned(),
        },
        BuildError::WriteLock {
            path: path(),
            source: refused(),
        },
        BuildError::NotOneImage {
            path: path(),
            found: "2 images".to_owned(),
        },
        BuildError::packages("unpack the packages")(ProgramError::Absent {
            program: "mmdebstrap",
            package: "mmdebstrap",
        }),
        BuildError::packages("choose packages")(ProgramError::Stopped),
        BuildError::Package {
            name: "redis".to_owned(),
            reason: "it is another version".to_owned(),
        },
        BuildError::Failed {
            step: step(),
            code: 2,
            tail: vec!["cc: no".to_owned(), "make: no".to_owned()],
        },
        BuildError::WriteLayer {
            path: path(),
            source: io::Error::from(io::ErrorKind::StorageFull),
        },
        BuildError::Target {
            path: path(),
            reason: "a file is in the way",
        },
        BuildError::Target {
            path: path(),
            reason: FOLDER,
        },
        ContextError::Missing { path: path() }.into(),
        ContextError::Outside { path: path() }.into(),
        ContextError::Special { path: path() }.into(),
        ContextError::Deep { path: path() }.into(),
        ContextError::Changed { path: path() }.into(),
        ContextError::Read {
            path: path(),
            source: refused(),
        }
        .into(),
        ContextError::Stopped.into(),
        CacheError::Make {
            path: path(),
            source: refused(),
        }
        .into(),
        CacheError::Lock {
            path: path(),
            source: refused(),
        }
        .into(),
        CacheError::Write {
            path: path(),
            source: refused(),
        }
        .into(),
    ];
    let all: Vec<String> = all.iter().map(shown).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    the build was stopped
    cannot find the folder /p
      help: give the folder with the holdall.toml: `holdall build DIR`
    cannot find /p/holdall.toml
      help: write one with `holdall new`
    cannot build /p: the Dockerfile front end is not built yet
      help: describe the image in a holdall.toml: `holdall new` writes one
    cannot read /p: permission denied
    2 errors in holdall.toml
    holdall.toml:1:1: unknown key `frm`
      |
    1 | frm = 1
      | ^^^
      = help: did you mean `from`?
    holdall.toml:1:1: unknown key `frm`
      |
    1 | frm = 1
      | ^^^
      = help: did you mean `from`?
    the image has no name
      help: write `name = "shop"` at the top of the holdall.toml, or give `-t NAME`
    cannot name the image "Shop": image name "Shop" has upper-case letters
    SOURCE_DATE_EPOCH is "now", not a number of seconds since 1970
    cannot use /p: it is too long
      help: delete it: the next build writes a new one
    cannot write /p: permission denied
    cannot use /p as a base: it has 2 images
    cannot unpack the packages: cannot find mmdebstrap: install the package mmdebstrap
      help: apt-get install mmdebstrap
    the build was stopped
    cannot use the package redis: it is another version
    step run make failed: exit code 2
      cc: no
      make: no
    cannot write /p into the image: no storage space
      help: the disk is full: `holdall rmi` removes images
    cannot copy to /p: a file is in the way
    cannot copy to /p: a folder is in the way
      help: end `to` with a slash to copy a file into the folder
    the context has no /p
    /p leads out of the context
    /p is neither a file nor a folder nor a link
    /p lies more than 256 folders deep
    /p changed while it was built from
    cannot read /p of the context: permission denied
    the build was stopped
    cannot make /p: permission denied
    cannot lock /p: permission denied
    cannot write /p: permission denied
    "#);
}

#[test]
fn what_lies_below_an_error_reads_on_from_it() {
    use crate::diff::DiffError;
    use crate::lock::LockError;
    use crate::new_project::NewError;
    use holdall_image::archive::ArchiveError;
    use holdall_image::root::RootError;

    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    let path = || PathBuf::from("/p");
    let step = || "run make".to_owned();
    let root = RootError {
        action: "open",
        path: path(),
        source: refused(),
    };
    let tree = || TreeError::Open {
        path: path(),
        source: refused(),
    };
    let changes = |source| BuildError::Changes {
        step: step(),
        source,
    };
    let failed = ProgramError::Failed {
        program: "mmdebstrap",
        status: std::os::unix::process::ExitStatusExt::from_raw(2 << 8),
        tail: vec!["E: no".to_owned(), "E: really no".to_owned()],
    };
    let program = "apt-get";
    let all = [
        ContextError::Open {
            path: path(),
            source: refused(),
        }
        .into(),
        changes(DiffError::Upper(root)),
        changes(DiffError::Below(tree())),
        BuildError::Import {
            path: path(),
            source: Box::new(ArchiveError::NotAnArchive),
        },
        BuildError::Layer(LayerError::Write(refused())),
        BuildError::Tree(tree()),
        BuildError::Store(StoreError::Ambiguous {
            prefix: "ab".to_owned(),
            count: 2,
        }),
        BuildError::packages("choose packages")(ProgramError::Start {
            program,
            source: refused(),
        }),
        BuildError::packages("choose packages")(ProgramError::Wait {
            program,
            source: refused(),
        }),
        BuildError::packages("unpack the packages")(failed),
    ];
    let all: Vec<String> = all.iter().map(shown).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    cannot open the context /p: permission denied
    cannot take the changes of step run make: cannot read the changes of a step: cannot open /p: permission denied
    cannot take the changes of step run make: cannot read the layers below a step: cannot open layer /p: permission denied
    cannot import /p: the file is no archive of images
    cannot make a layer: cannot write the layer: permission denied
    cannot read the files of the image: cannot open layer /p: permission denied
    cannot use the image store: "ab" is the beginning of 2 image ids
      help: give more of the id
    cannot choose packages: cannot start apt-get: permission denied
    cannot choose packages: cannot wait for apt-get: permission denied
    cannot unpack the packages: mmdebstrap failed (exit status: 2):
    E: no
    E: really no
    "#);
    let locks = [
        LockError::Syntax("x".to_owned()),
        LockError::Version(9),
        LockError::Package {
            name: "redis".to_owned(),
            field: "digest",
        },
        LockError::Twice("redis".to_owned()),
        LockError::Count(0),
    ];
    let locks = locks.map(|error| error.to_string());
    insta::assert_snapshot!(locks.join("\n"), @r#"
    not a lock: x
    version 9 of the lock format is unknown to this release (it knows 1)
    package "redis" has no valid digest
    package "redis" stands there twice
    0 packages can't be a base
    "#);
    let new = [
        NewError::Make {
            path: path(),
            source: refused(),
        },
        NewError::Write {
            path: path(),
            source: refused(),
        },
        NewError::Exists { path: path() },
    ];
    let new = new.map(|error| error.to_string());
    insta::assert_snapshot!(new.join("\n"), @r"
    cannot make /p
    cannot write /p
    cannot write /p: it is there already
    ");
}
