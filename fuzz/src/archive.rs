//! Archives of images, of both forms: what is loaded can be saved and loaded
//! again, and what is refused leaves no image.

use holdall_image::archive::{Form, load, save};
use holdall_image::{Reference, Store};

use crate::jail::Jail;
use crate::tarball;

pub(crate) fn run(data: &[u8]) {
    loaded(&tarball::prepare(data));
}

/// Loads an archive.
pub(crate) fn loaded(stream: &[u8]) {
    let jail = Jail::new();
    let dir = jail.folder("state");
    let store = Store::open(&dir.join("store"), &dir.join("layers")).expect("a store opens");
    let found = load(&store, stream);
    jail.check();
    let listed = store.list().expect("the store lists");
    assert!(listed.is_empty(), "loading alone gives no names");
    let Ok(found) = found else { return };
    for (name, image) in found {
        let read = store
            .image(&image.digest)
            .expect("what was loaded is there");
        assert_eq!(read, image);
        store
            .read_blob(&image.manifest.config)
            .expect("the config is there and whole");
        let name = name.unwrap_or_else(|| "again".parse::<Reference>().expect("a name"));
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        let images = [(name, image)];
        for form in [Form::Docker, Form::Oci] {
            let mut out = Vec::new();
            // A layer that is no gzip or zstd inside is found out here.
            if save(&store, &images, &mut out, form).is_err() {
                continue;
            }
            let again = load(&store, out.as_slice()).expect("what we saved loads");
            let ids: Vec<_> = again.iter().map(|(_, image)| image.id()).collect();
            let [(_, image)] = &images;
            assert!(ids.iter().all(|id| *id == image.id()), "the same image");
        }
    }
    jail.check();
}
