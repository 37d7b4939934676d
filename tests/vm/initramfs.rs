//! The first root of a machine: it loads the modules and hands over to the
//! disk.

use std::fs;
use std::path::Path;

use crate::kernel::Kernel;

/// What the disk, the stories and boxes need of a kernel.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "overlay", "veth", "nf_tables"];

/// Where the whole machine begins. `switch_root` also frees what is in here.
const SCRIPT: &str = "\
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t ext4 /dev/vda /disk || exec /bin/busybox poweroff -f
/bin/busybox mount --move /dev /disk/dev
exec /bin/busybox switch_root /disk /guest
";

/// Writes it to `path`.
pub(crate) fn write(kernel: &Kernel, path: &Path) {
    let busybox = fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut archive = Archive::default();
    for name in ["bin", "dev", "disk", "modules"] {
        archive.add(name, DIRECTORY, &[]);
    }
    archive.add("bin/busybox", PROGRAM, &busybox);
    let mut script = "#!/bin/busybox sh\n".to_owned();
    for (name, bytes) in kernel.modules(&MODULES) {
        let file = format!("modules/{name}.ko");
        archive.add(&file, PROGRAM, &bytes);
        script.push_str(&format!("/bin/busybox insmod /{file}\n"));
    }
    script.push_str(SCRIPT);
    archive.add("init", PROGRAM, script.as_bytes());
    archive.add("TRAILER!!!", 0, &[]);
    fs::write(path, &archive.bytes).expect("a file of the story's");
}

/// Types and modes, cpio(5).
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive of the kernel's format: "newc" of cpio(5).
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("less than 4 GiB");
        // Inode, mode, uid, gid, links, time, size, device (2), its own
        // device (2), length of the name with its NUL, checksum.
        let size = length(content.len());
        let name_size = length(name.len() + 1);
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
