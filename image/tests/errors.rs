//! Every error text, as a user reads it.

mod fixture;

use std::error::Error;
use std::io;
use std::path::PathBuf;

use holdall_image::archive::{ArchiveError, Refused};
use holdall_image::digest::DigestError;
use holdall_image::document::DocumentError;
use holdall_image::layer::limits::LimitError;
use holdall_image::layer::{LayerError, PaxError, Refusal, TarError};
use holdall_image::reference::ReferenceError;
use holdall_image::root::RootError;
use holdall_image::store::{BlobMismatch, StoreError};
use holdall_image::tree::TreeError;
use holdall_image::{Digest, Reference};
use insta::assert_snapshot;

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn damage() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        BlobMismatch::Size {
            expected: 2,
            found: 1,
        },
    )
}

fn json() -> serde_json::Error {
    serde_json::from_str::<u8>("{").expect_err("no number")
}

fn digest() -> Digest {
    Digest::of(b"")
}

/// One line an error, with its causes and its hint; digests are cut.
fn lines<E: Error>(errors: &[E], hint: impl Fn(&E) -> Option<String>) -> String {
    let line = |error: &E| {
        let hint = hint(error).map_or(String::new(), |hint| format!(" [help: {hint}]"));
        format!("{}{hint}\n", fixture::chain(error)).replace(&digest().hex(), "HEX")
    };
    errors.iter().map(line).collect()
}

#[test]
fn errors_of_the_store() {
    let path = PathBuf::from("/s");
    let document = || DocumentError::Ambiguous {
        what: "image index",
    };
    let prefix = "ab".to_owned();
    let name = "shop".to_owned();
    let errors = [
        StoreError::Prepare {
            path: path.clone(),
            source: io::ErrorKind::PermissionDenied.into(),
        },
        StoreError::Lock {
            path: path.clone(),
            source: io::ErrorKind::ReadOnlyFilesystem.into(),
        },
        StoreError::WriteBlob {
            path: path.clone(),
            source: full(),
        },
        StoreError::ReadBlob {
            digest: digest(),
            source: damage(),
        },
        StoreError::MissingBlob { digest: digest() },
        StoreError::Damaged {
            digest: digest(),
            source: BlobMismatch::Digest { found: digest() },
        },
        StoreError::Document {
            digest: digest(),
            source: document(),
        },
        StoreError::ReadIndex {
            path: path.clone(),
            source: io::ErrorKind::NotFound.into(),
        },
        StoreError::Index {
            path: path.clone(),
            source: document(),
        },
        StoreError::WriteIndex {
            path: path.clone(),
            source: full(),
        },
        StoreError::Encode(json()),
        StoreError::Reference(ReferenceError::Empty),
        StoreError::NotFound {
            name: name.clone(),
            closest: Some("shop2".to_owned()),
        },
        StoreError::NotFound {
            name,
            closest: None,
        },
        StoreError::Ambiguous { prefix, count: 2 },
        StoreError::Adopt {
            path: path.clone(),
            source: full(),
        },
        StoreError::Examine {
            path: path.clone(),
            source: io::ErrorKind::NotADirectory.into(),
        },
        StoreError::Sweep {
            path,
            source: io::ErrorKind::ResourceBusy.into(),
        },
    ];
    assert_snapshot!(lines(&errors, StoreError::hint), @r#"
    cannot prepare the store /s: permission denied [help: run it as root]
    cannot lock /s: read-only filesystem or storage medium [help: the file system is read-only: choose another with HOLDALL_ROOT]
    cannot write a blob to /s: no storage space [help: the disk is full: free some space, e.g. by holdall rmi]
    cannot read blob sha256:HEX: it has 1 bytes, not 2 [help: build, load or pull the image again]
    blob sha256:HEX is not in the store [help: build, load or pull the image again]
    blob sha256:HEX is damaged: its content is sha256:HEX [help: build, load or pull the image again]
    cannot use sha256:HEX: image index is a manifest and an index at once
    cannot read /s: entity not found
    cannot use /s: image index is a manifest and an index at once
    cannot write /s: no storage space [help: the disk is full: free some space, e.g. by holdall rmi]
    cannot encode a document: invalid type: map, expected u8 at line 1 column 0
    an image name is empty [help: give a name such as shop:latest]
    no image "shop" in the store [help: did you mean shop2?]
    no image "shop" in the store [help: see which there are with: holdall images]
    "ab" is the beginning of 2 image ids [help: give more of the id]
    cannot make /s an unpacked layer: no storage space [help: the disk is full: free some space, e.g. by holdall rmi]
    cannot examine /s: not a directory
    cannot remove /s: resource busy
    "#);
}

#[test]
fn errors_of_layers() {
    let path = || "etc/x".to_owned();
    let file = || PathBuf::from("etc/x");
    let root = RootError {
        action: "open",
        path: file(),
        source: io::ErrorKind::NotFound.into(),
    };
    let errors = [
        LayerError::Store(StoreError::MissingBlob { digest: digest() }),
        LayerError::Tar(TarError::Truncated { offset: 5 }),
        LayerError::Refused {
            path: path(),
            refusal: Refusal::Whiteout,
        },
        LayerError::Unpack {
            path: path(),
            source: full(),
        },
        LayerError::Root(root),
        LayerError::Pack {
            path: file(),
            source: io::ErrorKind::PermissionDenied.into(),
        },
        LayerError::Unpackable {
            path: file(),
            refusal: Refusal::Changed,
        },
        LayerError::Write(full()),
        LayerError::Read(damage()),
        LayerError::DiffId {
            layer: digest(),
            expected: digest(),
            found: digest(),
        },
    ];
    assert_snapshot!(lines(&errors, LayerError::hint), @r#"
    blob sha256:HEX is not in the store [help: build, load or pull the image again]
    the tar ends within an entry, at byte 5 [help: the image is damaged or hostile; get it again from its source]
    layer entry "etc/x" is a malformed whiteout [help: the image is damaged or hostile; get it again from its source]
    cannot unpack layer entry "etc/x": no storage space [help: the disk is full: free some space, e.g. by holdall rmi]
    cannot open etc/x: entity not found
    cannot pack etc/x: permission denied [help: run it as root]
    cannot pack etc/x: it changed while it was read [help: run it again when nothing writes there]
    cannot write the layer: no storage space [help: the disk is full: free some space, e.g. by holdall rmi]
    cannot read the layer: it has 1 bytes, not 2
    layer sha256:HEX unpacks to sha256:HEX, but the config says sha256:HEX [help: the image is damaged or hostile; get it again from its source]
    "#);
    let refusals = [
        Refusal::ParentDirectory,
        Refusal::PathTooLong,
        Refusal::TooDeep,
        Refusal::Nul,
        Refusal::Root,
        Refusal::Whiteout,
        Refusal::OpaqueRoot,
        Refusal::Duplicate,
        Refusal::Parent,
        Refusal::HardLink,
        Refusal::EmptyLink,
        Refusal::Device,
        Refusal::OverlayAttribute,
        Refusal::Redirect,
        Refusal::WhiteoutName,
        Refusal::Changed,
    ];
    assert_snapshot!(lines(&refusals, |_| None), @r#"
    has a ".." in its path
    has a path that is too long
    lies too deep
    has a NUL in its path
    makes the root something other than a directory
    is a malformed whiteout
    makes the root opaque
    is a second entry of that path
    lies beneath something that is no directory
    is a hard link to no earlier file
    is a link to nothing
    is a device 0:0, which an overlay takes for a deletion
    sets an attribute of the overlay
    was moved or changed without its content (overlay redirect or metacopy)
    has a name that means a deletion
    changed while it was read
    "#);
    let limits = [
        LimitError::Entries { limit: 1 },
        LimitError::Bytes { limit: 2 },
        LimitError::Ratio {
            limit: 3,
            consumed: 4,
        },
        LimitError::Extension { limit: 5, size: 6 },
        LimitError::Held { limit: 7 },
    ];
    assert_snapshot!(lines(&limits, |_| None), @r#"
    it has more than 1 entries
    it unpacks to more than 2 bytes
    its first 4 bytes unpack to more than 3 times as many
    it has an extended header of 6 bytes, more than 5
    the names of its directories take more than 7 bytes
    "#);
}

#[test]
fn errors_of_tars() {
    let path = || "etc/x".to_owned();
    let errors = [
        TarError::Read {
            offset: 1,
            source: damage(),
        },
        TarError::Truncated { offset: 2 },
        TarError::Checksum { offset: 3 },
        TarError::Format { path: path() },
        TarError::Number {
            path: path(),
            field: "size",
        },
        TarError::Pax {
            offset: 4,
            source: PaxError::Record(5),
        },
        TarError::Pax {
            offset: 4,
            source: PaxError::Twice("path".to_owned()),
        },
        TarError::Pax {
            offset: 4,
            source: PaxError::Value("size".to_owned()),
        },
        TarError::Pax {
            offset: 4,
            source: PaxError::Second,
        },
        TarError::Pax {
            offset: 4,
            source: PaxError::Global("path".to_owned()),
        },
        TarError::Type {
            path: path(),
            kind: 'V',
        },
        TarError::Sparse { path: path() },
        TarError::Contradiction { path: path() },
        TarError::Limit(LimitError::Bytes { limit: 6 }),
    ];
    assert_snapshot!(lines(&errors, |_| None), @r#"
    cannot read the tar at byte 1: it has 1 bytes, not 2
    the tar ends within an entry, at byte 2
    the block at byte 3 is no tar header
    "etc/x" has a header of an unknown format
    "etc/x" has a malformed size
    the extended header at byte 4 is malformed: record 5 breaks the format
    the extended header at byte 4 is malformed: "path" is given twice
    the extended header at byte 4 is malformed: "size" has a malformed value
    the extended header at byte 4 is malformed: it is the second for one entry
    the extended header at byte 4 is malformed: a global header sets "path"
    "etc/x" is of the unsupported type 'V'
    "etc/x" is a sparse file
    "etc/x" contradicts its own type
    the tar is too large: it unpacks to more than 6 bytes
    "#);
}

#[test]
fn errors_of_archives_and_documents() {
    let name = || "c.json".to_owned();
    let path = || PathBuf::from("/l");
    let member = |why| ArchiveError::Member { name: name(), why };
    let root = RootError {
        action: "read",
        path: path(),
        source: io::ErrorKind::NotFound.into(),
    };
    let empty = "".parse::<Reference>().expect_err("empty");
    let errors = [
        ArchiveError::Store(StoreError::MissingBlob { digest: digest() }),
        ArchiveError::Write(full()),
        ArchiveError::Read(damage()),
        ArchiveError::Tar(TarError::Checksum { offset: 0 }),
        member(Refused::Path),
        member(Refused::Twice),
        member(Refused::Kind),
        member(Refused::Link),
        member(Refused::TooMany),
        ArchiveError::Missing { name: name() },
        ArchiveError::NotAnArchive,
        ArchiveError::Document {
            name: name(),
            source: DocumentError::Ambiguous { what: "manifest" },
        },
        ArchiveError::Digest {
            expected: digest(),
            found: digest(),
        },
        ArchiveError::DiffId {
            name: name(),
            expected: digest(),
            found: digest(),
        },
        ArchiveError::Name(empty),
        ArchiveError::Platform {
            architecture: "amd64",
        },
        ArchiveError::Layout {
            path: path(),
            source: root,
        },
        ArchiveError::NotALayout { path: path() },
    ];
    assert_snapshot!(lines(&errors, ArchiveError::hint), @r#"
    blob sha256:HEX is not in the store [help: build, load or pull the image again]
    cannot write the archive: no storage space [help: the disk is full: free some space, e.g. by holdall rmi]
    cannot read the archive: it has 1 bytes, not 2 [help: the archive is damaged or hostile; get it again from its source]
    cannot read the archive: the block at byte 0 is no tar header [help: the archive is damaged or hostile; get it again from its source]
    archive member "c.json" is refused: it has a path that leads out of the archive [help: the archive is damaged or hostile; get it again from its source]
    archive member "c.json" is refused: it is in it twice [help: the archive is damaged or hostile; get it again from its source]
    archive member "c.json" is refused: it is neither a file nor a link [help: the archive is damaged or hostile; get it again from its source]
    archive member "c.json" is refused: it is a link that leads nowhere [help: the archive is damaged or hostile; get it again from its source]
    archive member "c.json" is refused: it is one too many [help: the archive is damaged or hostile; get it again from its source]
    the archive has no member "c.json" [help: the archive is damaged or hostile; get it again from its source]
    the file is no archive of images [help: give a file that docker save, podman save, skopeo or holdall save wrote]
    cannot use archive member "c.json": manifest is a manifest and an index at once [help: the archive is damaged or hostile; get it again from its source]
    blob sha256:HEX of the archive has the content of sha256:HEX [help: the archive is damaged or hostile; get it again from its source]
    layer "c.json" of the archive is sha256:HEX, but the config says sha256:HEX [help: the archive is damaged or hostile; get it again from its source]
    the archive names an image wrongly: an image name is empty [help: give a name such as shop:latest]
    the archive has no image for linux/amd64 [help: save it again with --platform linux/amd64]
    cannot read the OCI layout /l: cannot read /l: entity not found
    /l is no OCI layout of version 1.0.0 [help: give a directory that skopeo, umoci or buildah wrote as oci:]
    "#);
    let what = "image config";
    let documents = [
        DocumentError::TooLarge { what, size: 5 },
        DocumentError::Decode {
            what,
            source: json(),
        },
        DocumentError::MediaType {
            what,
            found: "text/plain".to_owned(),
        },
        DocumentError::SchemaVersion { what, found: 1 },
        DocumentError::Ambiguous { what },
        DocumentError::LayerType {
            digest: digest(),
            media_type: "text/plain".to_owned(),
        },
        DocumentError::LayerCount {
            layers: 1,
            diff_ids: 2,
        },
    ];
    assert_snapshot!(lines(&documents, |_| None), @r#"
    image config has 5 bytes, more than the 4194304 allowed
    cannot decode image config: invalid type: map, expected u8 at line 1 column 0
    image config says it is a "text/plain"
    image config has schema version 1, not 2
    image config is a manifest and an index at once
    layer sha256:HEX has media type "text/plain", which cannot be unpacked
    manifest has 1 layers but the config names 2
    "#);
}

#[test]
fn errors_of_digests_and_trees() {
    let digests = [
        DigestError::Algorithm("md5:0".to_owned()),
        DigestError::Hex("sha256:x".to_owned()),
    ];
    assert_snapshot!(lines(&digests, |_| None), @r#"
    digest "md5:0" does not start with "sha256:"
    digest "sha256:x" is not "sha256:" and 64 lower-case hex digits
    "#);
    let path = || PathBuf::from("/etc/passwd");
    let trees = [
        TreeError::Open {
            path: path(),
            source: io::ErrorKind::NotFound.into(),
        },
        TreeError::Lookup {
            path: path(),
            source: io::ErrorKind::PermissionDenied.into(),
        },
        TreeError::Read {
            path: path(),
            source: io::ErrorKind::FileTooLarge.into(),
        },
    ];
    assert_snapshot!(lines(&trees, |_| None), @r#"
    cannot open layer /etc/passwd: entity not found
    cannot look up /etc/passwd in the image: permission denied
    cannot read /etc/passwd of the image: file too large
    "#);
}
