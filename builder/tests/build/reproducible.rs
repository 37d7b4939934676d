//! One digest, wherever and whenever.

use std::path::Path;

use nix::sys::stat::{Mode, umask};

use crate::world::{World, write};

pub(crate) const ALL: &[(&str, fn())] = &[(
    "two_stores_two_umasks_and_two_orders_of_files_give_one_digest",
    two_stores,
)];

/// The files of a folder, made in this order.
fn fill(dir: &Path, names: &mut dyn Iterator<Item = u32>) {
    for number in names {
        write(
            &dir.join(format!("root/srv/{number}")),
            number.to_string().as_bytes(),
        );
    }
}

fn two_stores() {
    let more = "run = [\"mkdir -p /a/b; for i in $(seq 50); do echo $i > /a/$i; done; echo $SOURCE_DATE_EPOCH > /when\"]";
    let one = World::new();
    let first = one.busybox("shop", more);
    fill(&first, &mut (0..100));
    let first = one.build(&first).built();

    let two = World::new();
    let before = umask(Mode::from_bits_truncate(0o077));
    let second = two.busybox("shop", more);
    // As git and editors leave it.
    std::fs::set_permissions(
        second.join("root/bin/busybox"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    fill(&second, &mut (0..100).rev());
    let built = two.build(&second);
    umask(before);
    assert_eq!(built.built().image.digest, first.image.digest);
}
