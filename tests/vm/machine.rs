//! A machine under qemu: two serial ports, a disk, no network.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::disk::Disk;
use crate::guest::Report;
use crate::initramfs;
use crate::kernel::Kernel;

/// The longest silence of a machine that works: emulated, on two cores that
/// others use too. Past it the story fails with the console's words.
const SILENCE: Duration = Duration::from_secs(300);

/// For the kernel. A panic ends the machine, and so the story. No doubt about
/// a timer that a busy host makes late. And no mitigations: those of a real
/// processor's faults empty the emulated one's caches at each system call.
const PARAMETERS: &str = "console=ttyS0 quiet panic=-1 no_timer_check nowatchdog \
                          rcupdate.rcu_cpu_stall_suppress=1 mitigations=off";

/// A running machine. Dropped, it is switched off as by a power cut.
#[derive(Debug)]
#[must_use]
pub(crate) struct Machine<'d> {
    qemu: Child,
    reports: Receiver<Report>,
    disk: &'d Disk,
}

impl<'d> Machine<'d> {
    /// Boots from `disk` to do `chore`, with the host's date.
    pub(crate) fn boot(disk: &'d Disk, chore: &str) -> Self {
        Self::boot_at(disk, chore, "utc")
    }

    /// The same when its clock says `date`, as qemu's `-rtc base=` has it.
    pub(crate) fn boot_at(disk: &'d Disk, chore: &str, date: &str) -> Self {
        let kernel = Kernel::of_debian();
        let initramfs = disk.folder().join("initramfs");
        initramfs::write(&kernel, &initramfs);
        let console = format!("file:{}", disk.folder().join("console").display());
        // A killed qemu loses what the machine had not yet written to its
        // disk, and nothing else: flushing to the host's own would test the
        // host, so it is left out.
        let drive = format!(
            "file={},format=raw,if=virtio,cache=unsafe",
            disk.image().display()
        );
        let mut qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1G"])
            // Entropy from the first moment on.
            .args(["-cpu", "qemu64,+rdrand"])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&initramfs)
            .arg("-append")
            .arg(format!("{PARAMETERS} holdall.chore={chore}"))
            .args(["-drive", &drive, "-rtc", &format!("base={date}")])
            .args(["-serial", &console, "-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(disk.folder().join("qemu")).expect("a file of the story's"))
            .spawn()
            .expect("setpriv is part of Debian's base");
        let port = BufReader::new(qemu.stdout.take().expect("it is piped"));
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in port.lines().map_while(Result::ok) {
                let Some(report) = Report::of(line.trim_end()) else {
                    continue;
                };
                if sender.send(report).is_err() {
                    break;
                }
            }
        });
        Self {
            qemu,
            reports,
            disk,
        }
    }

    /// The next thing that the chore says.
    pub(crate) fn says(&self) -> String {
        match self.report() {
            Report::Says(text) => text,
            other => self.fail(&format!("{other:?} instead of a word")),
        }
    }

    /// Waits until the chore is done and the machine is off.
    pub(crate) fn until_off(mut self) {
        match self.report() {
            Report::Done => {}
            other => self.fail(&format!("{other:?} before the end")),
        }
        let ended = self.qemu.wait().expect("our own child");
        assert!(ended.success(), "qemu: {ended}");
    }

    /// Cuts its power: the disk has what had reached it.
    pub(crate) fn cut_power(self) {
        drop(self);
    }

    fn report(&self) -> Report {
        loop {
            match self.reports.recv_timeout(SILENCE) {
                Ok(Report::Alive) => {}
                Ok(Report::Failed(reason)) => self.fail(&reason),
                Ok(report) => return report,
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("silent for {SILENCE:?}")),
                Err(RecvTimeoutError::Disconnected) => self.fail("it is off"),
            }
        }
    }

    fn fail(&self, reason: &str) -> ! {
        let read = |name: &str| {
            let bytes = fs::read(self.disk.folder().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        panic!(
            "the machine failed: {reason}\nits console:\n{}\nqemu:\n{}",
            read("console"),
            read("qemu")
        );
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}
