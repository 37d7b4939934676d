use super::*;

fn store() -> (tempfile::TempDir, BoxStore) {
    let root = tempfile::tempdir().expect("a root");
    let store = BoxStore::open(Dirs::under(root.path())).expect("opened");
    (root, store)
}

fn folders(store: &BoxStore) -> Vec<String> {
    let entries = fs::read_dir(store.dirs().boxes()).expect("boxes");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "names.lock")
        .collect();
    names.sort();
    names
}

#[test]
fn a_draft_that_is_given_up_leaves_nothing() {
    let (_root, store) = store();
    let draft = store.draft().expect("begun");
    assert_eq!(folders(&store), [format!(".new-{}", draft.id)]);
    drop(draft);
    assert!(folders(&store).is_empty());
}

#[test]
fn what_a_crash_left_is_swept_and_what_is_at_work_is_not() {
    let (_root, store) = store();
    for left in [".new-0123456789ab", ".gone-ba9876543210"] {
        let dir = store.dirs().boxes().join(left);
        fs::create_dir_all(dir.join("upper/deep")).expect("made");
        fs::write(dir.join("lock"), "").expect("made");
    }
    let at_work = store.draft().expect("begun");
    let other = store.draft().expect("begun");
    let mut expected = [format!(".new-{}", at_work.id), format!(".new-{}", other.id)];
    expected.sort();
    assert_eq!(folders(&store), expected);
}

#[test]
fn what_a_killed_removal_left_of_a_run_goes_with_the_remains() {
    let (_root, store) = store();
    let id: BoxId = "ba9876543210".parse().expect("an id");
    let dir = store.dirs().boxes().join(format!(".gone-{id}"));
    let run = store.run_dir(&id);
    for folder in [&dir, run.path(), &store.container(&id)] {
        fs::create_dir_all(folder).expect("made");
    }
    let lock = Lock::wait(&dir.join("lock")).expect("locked");
    drop(store.draft().expect("begun"));
    assert!(run.path().exists(), "somebody is at it");
    drop(lock);
    drop(store.draft().expect("begun"));
    assert!(!store.has_remains(&id));
    assert!(folders(&store).is_empty());
}

#[test]
fn a_look_at_the_boxes_sweeps_what_a_killed_removal_left() {
    let (_root, store) = store();
    let dir = store.dirs().boxes().join(".gone-ba9876543210");
    fs::create_dir_all(dir.join("upper/deep")).expect("made");
    // Not while a box is being made, which holds the names.
    let names = store.lock_names().expect("locked");
    assert_eq!(store.records().expect("listed"), []);
    assert!(dir.exists());
    drop(names);
    assert_eq!(store.records().expect("listed"), []);
    assert!(!dir.exists());
}

#[test]
fn a_life_that_a_power_cut_left_empty_is_none() {
    let (_root, store) = store();
    let id = BoxId::random().expect("an id");
    fs::create_dir(store.dir(&id).path()).expect("made");
    fs::write(store.dir(&id).life(), "").expect("written");
    assert_eq!(store.life(&id).expect("read"), None);
}

#[test]
fn a_box_that_was_not_synced_is_lost_with_its_record_and_swept() {
    let (_root, store) = store();
    for torn in ["", "{\"version\": 1, \"id\": \"01", "\0\0\0\0", "[]"] {
        let id = BoxId::random().expect("an id");
        let dir = store.dir(&id);
        fs::create_dir_all(dir.upper()).expect("made");
        fs::write(dir.record(), torn).expect("written");
        fs::write(dir.lock(), "").expect("written");
        // One that was synced is damaged otherwise, and nobody's to remove.
        assert!(store.records().is_err(), "{torn:?}");
        drop(store.draft().expect("begun"));
        assert!(dir.path().exists(), "{torn:?}");

        fs::write(dir.passing(), "").expect("written");
        assert_eq!(store.records().expect("read"), [], "{torn:?}");
        assert_eq!(store.record(&id).expect("read"), None, "{torn:?}");
        drop(store.draft().expect("begun"));
        assert!(!dir.path().exists(), "{torn:?}");
    }
}

#[test]
fn a_life_that_a_power_cut_tore_is_none_and_a_wrong_one_is_an_error() {
    let (_root, store) = store();
    let id = BoxId::random().expect("an id");
    fs::create_dir(store.dir(&id).path()).expect("made");
    for torn in ["{\"life\": \"runn", "\0\0\0"] {
        fs::write(store.dir(&id).life(), torn).expect("written");
        assert_eq!(store.life(&id).expect("read"), None, "{torn:?}");
    }
    fs::write(store.dir(&id).life(), "[]").expect("written");
    assert!(store.life(&id).is_err());
}

#[test]
fn a_box_that_is_removed_is_gone_as_a_whole() {
    let (_root, store) = store();
    let id = BoxId::random().expect("an id");
    fs::create_dir_all(store.dir(&id).upper().join("deep")).expect("made");
    let lock = store.lock(&id).expect("locked");
    store.remove(&id, &lock).expect("removed");
    assert!(folders(&store).is_empty());
    // And again, which is no error.
    store.remove(&id, &lock).expect("removed");
    assert!(matches!(store.lock(&id), Err(BoxError::NotFound { .. })));
}
