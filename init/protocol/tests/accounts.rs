//! Users and groups out of an image's files.

use holdall_protocol::account::{Account, AccountError, find_group, find_user};
use proptest::prelude::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash
redis:x:101:102:redis server:/var/lib/redis:/usr/sbin/nologin
# no comment in passwd(5), so a user of an odd name
homeless:x:7:8
relative:x:9:9::srv:
1foo:x:55:55::/:
";

const GROUP: &[u8] = b"root:x:0:
redis:x:102:redis
www-data:x:33:nginx,redis
adm:x:4:redis,root
staff:x:50:
";

fn find(spec: &str) -> Result<Account, AccountError> {
    find_user(PASSWD, GROUP, spec)
}

#[test]
fn a_name_brings_its_group_its_home_and_the_groups_that_list_it() {
    let redis = find("redis").expect("it is there");
    assert_eq!((redis.uid, redis.gid), (101, 102));
    assert_eq!(redis.groups, [4, 33], "sorted, without the main one");
    assert_eq!(
        (redis.home.as_str(), redis.name.as_deref()),
        ("/var/lib/redis", Some("redis"))
    );
}

#[test]
fn a_number_that_is_known_is_that_user() {
    assert_eq!(find("101"), find("redis"));
}

#[test]
fn a_number_that_is_not_known_is_itself_with_group_root_as_in_docker() {
    let account = find("1234").expect("numbers need no entry");
    assert_eq!(
        (account.uid, account.gid, account.home.as_str()),
        (1234, 0, "/")
    );
    assert_eq!((account.groups, account.name), (vec![], None));
}

#[test]
fn a_group_beside_the_user_is_then_the_only_one() {
    let account = find("redis:staff").expect("both are there");
    assert_eq!((account.uid, account.gid), (101, 50));
    assert!(account.groups.is_empty());
    assert_eq!(find("0:4321").map(|account| account.gid), Ok(4321));
}

#[test]
fn a_home_that_is_missing_or_not_absolute_is_the_root_directory() {
    for name in ["homeless", "relative"] {
        assert_eq!(find(name).map(|account| account.home), Ok("/".to_owned()));
    }
}

#[test]
fn what_is_neither_a_known_name_nor_a_number_is_refused() {
    let unknown = |name: &str| Err(AccountError::UnknownUser(name.to_owned()));
    for name in ["nginx", "+1", "-1", "1bar", " redis", "0x0", "１"] {
        assert_eq!(find(name), unknown(name), "{name:?}");
    }
    for id in ["4294967295", "4294967296", "99999999999999999999"] {
        assert_eq!(find(id), Err(AccountError::BadId(id.to_owned())));
    }
    for empty in ["", ":", ":root", "root:"] {
        assert_eq!(find(empty), Err(AccountError::Empty), "{empty:?}");
    }
    assert_eq!(
        find("root:nobody"),
        Err(AccountError::UnknownGroup("nobody".to_owned()))
    );
    assert_eq!(
        find("root:+0"),
        Err(AccountError::UnknownGroup("+0".to_owned()))
    );
    assert_eq!(
        find("1foo").map(|account| account.uid),
        Ok(55),
        "a name that is there is a name"
    );
}

#[test]
fn every_error_names_what_it_is_about() {
    let shown: Vec<String> = ["", "nginx", "root:nobody", "4294967295"]
        .map(|spec| find(spec).expect_err(spec).to_string())
        .to_vec();
    assert_eq!(
        shown,
        [
            "user is empty",
            "cannot find user \"nginx\": /etc/passwd has no such name",
            "cannot find group \"nobody\": /etc/group has no such name",
            "\"4294967295\" is no id of a user or group: it must be below 4294967295",
        ]
    );
}

#[test]
fn a_group_is_found_by_name_and_number() {
    assert_eq!(find_group(GROUP, "www-data"), Ok(33));
    assert_eq!(find_group(GROUP, "77"), Ok(77));
    assert_eq!(find_group(GROUP, ""), Err(AccountError::Empty));
}

#[test]
fn entries_that_make_no_sense_are_passed_over() {
    let passwd = b"\n:::\nx\nx:x\nx:x:-1:0::/:\nx:x:+5:0::/:\nx:x:5:0x0::/:\nx:x:99999999999:0::/:\n\xff\xfe:x:6:6::/:\nx:x:5:6::/home/x:\nx:x:7:7::/:";
    let account = find_user(passwd, b"", "x").expect("the first that makes sense");
    assert_eq!(
        (account.uid, account.gid, account.home.as_str()),
        (5, 6, "/home/x")
    );
}

#[test]
fn a_line_without_end_and_a_file_without_lines_are_read_in_time() {
    let mut passwd = vec![b'a'; 3 * 1024 * 1024];
    passwd.extend_from_slice(b"\nroot:x:0:0::/root:\n");
    assert_eq!(
        find_user(&passwd, b"", "root").map(|account| account.uid),
        Ok(0)
    );
    let members = "redis,".repeat(10_000);
    let group = format!(
        "{}big:x:9:{members}\n",
        format!("g:x:8:{members}\n").repeat(60)
    );
    let account = find_user(PASSWD, group.as_bytes(), "redis").expect("it is there");
    assert_eq!(account.groups, [8, 9]);
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(
        passwd in prop::collection::vec(prop_oneof![Just(b':'), Just(b'\n'), Just(b'0'), any::<u8>()], 0..200),
        group in prop::collection::vec(prop_oneof![Just(b':'), Just(b','), Just(b'\n'), any::<u8>()], 0..200),
        spec in ".{0,6}(:.{0,6})?",
    ) {
        if let Ok(account) = find_user(&passwd, &group, &spec) {
            prop_assert!(account.uid != u32::MAX && account.gid != u32::MAX);
            prop_assert!(account.home.starts_with('/'));
        }
    }
}
