//! An image's /etc/passwd and /etc/group: three parts, the user who is asked
//! for first.

use holdall_protocol::account::{find_group, find_user};

use crate::parts;

pub(crate) fn run(data: &[u8]) {
    let parts = parts(data);
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap_or_default();
    let (who, passwd, group) = (next(), next(), next());
    let who = String::from_utf8_lossy(who);
    if let Ok(account) = find_user(passwd, group, &who) {
        assert!(
            account.uid != u32::MAX && account.gid != u32::MAX,
            "-1 is nobody"
        );
        assert!(account.home.starts_with('/'));
        assert!(!account.groups.contains(&account.gid));
        assert!(account.groups.is_sorted() && !account.groups.contains(&u32::MAX));
        if who.contains(':') {
            assert!(account.groups.is_empty(), "a named group is the only one");
        }
        let plain = who.split(':').next().unwrap_or_default();
        if !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit()) {
            assert_eq!(plain.parse(), Ok(account.uid), "a number is that user");
        }
    }
    if let Ok(gid) = find_group(group, &who) {
        assert_ne!(gid, u32::MAX);
    }
}
