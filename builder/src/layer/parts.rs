//! A large layer cut into parts, so that a change makes one part anew and the
//! others are found as they were made before: in the cache, in a registry, on
//! the machine that pulls.
//!
//! Where a path goes depends on nothing but its name and the sizes of the
//! layer, rounded: never on the order of the files, on what they hold, or on a
//! build before. So a part is the same however it came about, and a change
//! moves no file from one part to another, but for the rare one that takes the
//! layer, or a folder in it, over a power of two. A folder's own files stay
//! together where it isn't too large.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{Contents, Entry, What, parent};

/// The most parts of a layer. Engines bound the layers of an image (docker at
/// 127), and each costs a round trip when it is pulled.
const MOST: u64 = 16;

/// A part's least size in bytes, on average: smaller ones take longer to store
/// than to make.
const LEAST: u64 = 4 << 20;

/// What an entry weighs beside its content: its header in the archive, and
/// the making of its inode.
const ENTRY: u64 = 1024;

/// The most parts of each of several layers of one image, by their weights:
/// the large ones share [`MOST`].
pub(crate) fn most_parts(weights: &[u64]) -> Vec<u64> {
    let large = |weight: &u64| *weight >= 2 * LEAST;
    let share = MOST / (weights.iter().filter(|w| large(w)).count() as u64).max(1);
    let most = |weight| if large(weight) { share.max(1) } else { 1 };
    weights.iter().map(most).collect()
}

/// What files weigh that hold so many bytes together.
pub(crate) fn weight(files: usize, bytes: u64) -> u64 {
    ENTRY.saturating_mul(files as u64).saturating_add(bytes)
}

/// Cuts a layer into at most so many parts, none of them empty. Each has the
/// folders on the way to its files. One that is small stays whole.
pub(crate) fn parts(contents: Contents, most: u64) -> Vec<Contents> {
    let total: u64 = contents.entries.values().map(Entry::weight).sum();
    let count = power(total / LEAST).min(power(most));
    if count < 2 {
        return vec![contents];
    }
    let scattered = scattered(&contents, power(total) / count / 2);
    let mut parts: BTreeMap<u64, Contents> = BTreeMap::new();
    for (path, entry) in &contents.entries {
        let unit = match &entry.what {
            What::Folder => path.as_slice(),
            What::Link(_) | What::File(_) => match parent(path) {
                Some(folder) if !scattered.contains(folder) => folder,
                _ => path.as_slice(),
            },
        };
        let part = parts.entry(bucket(unit, count)).or_default();
        part.entries.insert(path.clone(), entry.clone());
        let mut folder = parent(path);
        // Where one is, those above it are.
        while let Some(above) = folder.filter(|above| !part.entries.contains_key(*above)) {
            let Some(entry) = contents.entries.get(above) else {
                break;
            };
            part.entries.insert(above.to_vec(), entry.clone());
            folder = parent(above);
        }
    }
    parts.into_values().collect()
}

/// The folders whose own files, at about this weight, are too many to stay
/// together.
fn scattered(contents: &Contents, heavy: u64) -> BTreeSet<&[u8]> {
    let mut folders: BTreeMap<&[u8], u64> = BTreeMap::new();
    for (path, entry) in &contents.entries {
        if let (Some(folder), true) = (parent(path), entry.what != What::Folder) {
            *folders.entry(folder).or_default() += entry.weight();
        }
    }
    folders.retain(|_, weight| power(*weight) >= heavy);
    folders.into_keys().collect()
}

impl Entry {
    fn weight(&self) -> u64 {
        match &self.what {
            What::Folder | What::Link(_) => weight(1, 0),
            What::File(bytes) => weight(1, bytes.size),
        }
    }
}

/// The largest power of two that is not above `number`; 0 of 0.
fn power(number: u64) -> u64 {
    number.checked_ilog2().map_or(0, |log| 1 << log)
}

fn bucket(unit: &[u8], count: u64) -> u64 {
    let digest: [u8; 32] = Sha256::digest(unit).into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first) % count
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::layer::{Bytes, Owner};

    fn put(contents: &mut Contents, path: &str, content: u8, size: u64) {
        let mut folder = parent(path.as_bytes());
        while let Some(above) = folder {
            let path = String::from_utf8(above.to_vec()).unwrap();
            contents.put(Path::new(&path), 0o755, Owner::default(), What::Folder);
            folder = parent(above);
        }
        let bytes = Bytes {
            content: [content; 32],
            size,
            from: path.into(),
        };
        let file = What::File(bytes);
        contents.put(Path::new(path), 0o644, Owner::default(), file);
    }

    /// Two hundred folders of ten files of 20 kB: 40 MB.
    fn large() -> Contents {
        let mut contents = Contents::default();
        for file in 0..2000 {
            let path = format!("srv/app/{}/{file}", file % 200);
            put(&mut contents, &path, 1, 20_000);
        }
        contents
    }

    /// The keys of the parts, and how many of them the other has not.
    fn changed(before: &Contents, after: &Contents) -> (usize, usize) {
        let keys = |contents: &Contents| -> BTreeSet<_> {
            let parts = parts(contents.clone(), MOST);
            parts.iter().map(|part| part.key(0)).collect()
        };
        let (before, after) = (keys(before), keys(after));
        (after.len(), after.difference(&before).count())
    }

    #[test]
    fn a_change_of_one_file_changes_one_part() {
        let before = large();
        assert_eq!(changed(&before, &before), (8, 0));
        let mut edited = before.clone();
        put(&mut edited, "srv/app/7/1007", 2, 25_000);
        assert_eq!(changed(&before, &edited), (8, 1));
        let mut added = before.clone();
        put(&mut added, "srv/app/7/a", 2, 20_000);
        assert_eq!(changed(&before, &added), (8, 1));
        assert_eq!(changed(&added, &before), (8, 1));
        let mut folder = before.clone();
        put(&mut folder, "srv/app/new/a", 2, 20_000);
        assert_eq!(changed(&before, &folder), (8, 1));
    }

    #[test]
    fn parts_are_about_as_large_as_each_other_even_of_one_folder() {
        let mut flat = Contents::default();
        for file in 0..2000 {
            put(&mut flat, &format!("srv/{file}"), 1, 20_000);
        }
        for contents in [large(), flat] {
            let sizes = parts(contents, MOST)
                .into_iter()
                .map(|part| part.entries.values().map(Entry::weight).sum::<u64>());
            let sizes: Vec<u64> = sizes.collect();
            assert_eq!(sizes.len(), 8);
            assert!(
                sizes.iter().all(|size| (2 << 20..10 << 20).contains(size)),
                "{sizes:?}"
            );
        }
    }

    #[test]
    fn small_layers_stay_whole_and_large_ones_share_what_an_image_may_have() {
        let mut small = Contents::default();
        put(&mut small, "a", 1, 2 * LEAST - 10 * ENTRY);
        assert_eq!(parts(small.clone(), MOST), [small]);
        assert_eq!(most_parts(&[1, 2, 300 << 20]), [1, 1, 16]);
        assert_eq!(most_parts(&[100 << 20; 3]), [5; 3]);
        assert_eq!(most_parts(&[100 << 20; 40]), [1; 40]);
        assert_eq!(most_parts(&[]), [0_u64; 0]);
        assert_eq!(parts(large(), 5).len(), 4);
        assert_eq!(parts(large(), 1).len(), 1);
    }

    proptest! {
        #[test]
        fn parts_have_every_file_once_and_its_folders(
            files in prop::collection::btree_map("[ab](/[ab]){0,3}/[0-9]", 0..9_000_000_u64, 1..40),
            most in 1..20_u64,
        ) {
            let mut whole = Contents::default();
            for (path, size) in &files {
                put(&mut whole, path, 1, *size);
            }
            let parts = parts(whole.clone(), most);
            prop_assert!(parts.len() as u64 <= most);
            let mut seen = BTreeSet::new();
            let mut folders = BTreeSet::new();
            for part in &parts {
                prop_assert!(!part.entries.is_empty());
                for (path, entry) in &part.entries {
                    prop_assert_eq!(whole.entries.get(path), Some(entry));
                    let above = parent(path);
                    prop_assert!(above.is_none_or(|above| part.entries.contains_key(above)));
                    if entry.what == What::Folder {
                        folders.insert(path.clone());
                    } else {
                        prop_assert!(seen.insert(path.clone()), "twice");
                    }
                }
            }
            prop_assert_eq!(seen.len() + folders.len(), whole.entries.len());
        }
    }
}
