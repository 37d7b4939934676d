//! Digests, references and documents: what is read, and what is refused with
//! which words.

mod fixture;

use fixture::chain;
use holdall_image::document::{ImageConfig, Index, Manifest};
use holdall_image::{Digest, Reference};
use insta::assert_snapshot;
use proptest::prelude::*;

#[test]
fn digests_are_strict() {
    let hex = Digest::of(b"x").hex();
    assert_eq!(
        hex,
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    );
    assert_eq!(format!("sha256:{hex}").parse(), Ok(Digest::of(b"x")));
    let text = |text: &str| text.parse::<Digest>().expect_err("malformed").to_string();
    assert_snapshot!(text("sha512:00"), @r#"digest "sha512:00" does not start with "sha256:""#);
    assert_snapshot!(text("sha256:../../x"), @r#"digest "sha256:../../x" is not "sha256:" and 64 lower-case hex digits"#);
    for bad in [
        hex.to_uppercase(),
        hex[1..].to_owned(),
        format!("{hex}0"),
        "é".repeat(32),
    ] {
        assert!(format!("sha256:{bad}").parse::<Digest>().is_err(), "{bad}");
    }
}

#[test]
fn a_name_is_never_shown_as_another_registrys_or_as_an_id() {
    // Found by fuzzing: shown as `lib.rary/debian`, it was pulled from there.
    let hex = Digest::of(b"x").hex();
    for text in [
        "docker.io/lib.rary/debian",
        "docker.io/localhost/debian:1",
        &format!("docker.io/library/{hex}"),
    ] {
        let name: Reference = text.parse().expect("a name");
        assert_eq!(name.to_string(), text);
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}

#[test]
fn names_are_read_as_docker_reads_them() {
    let hex = Digest::of(b"x").hex();
    let digest = format!("sha256:{hex}");
    // Text, registry, repository, tag, short form.
    for (text, registry, repository, tag, short) in [
        ("shop", "docker.io", "library/shop", None, "shop"),
        (
            "shop:1.0",
            "docker.io",
            "library/shop",
            Some("1.0"),
            "shop:1.0",
        ),
        ("team/shop", "docker.io", "team/shop", None, "team/shop"),
        ("docker.io/shop", "docker.io", "library/shop", None, "shop"),
        (
            "index.docker.io/library/shop:v",
            "docker.io",
            "library/shop",
            Some("v"),
            "shop:v",
        ),
        (
            "localhost/shop",
            "localhost",
            "shop",
            None,
            "localhost/shop",
        ),
        (
            "localhost:5000/shop:1",
            "localhost:5000",
            "shop",
            Some("1"),
            "localhost:5000/shop:1",
        ),
        (
            "r.example.org/a/b/c",
            "r.example.org",
            "a/b/c",
            None,
            "r.example.org/a/b/c",
        ),
        (
            "[::1]:5000/shop",
            "[::1]:5000",
            "shop",
            None,
            "[::1]:5000/shop",
        ),
        ("Registry/shop", "Registry", "shop", None, "Registry/shop"),
        (
            "a__b/c-_".trim_end_matches("-_"),
            "docker.io",
            "a__b/c",
            None,
            "a__b/c",
        ),
        (
            "a---b.c_d",
            "docker.io",
            "library/a---b.c_d",
            None,
            "a---b.c_d",
        ),
        (
            "shop:_UPPER.x-y",
            "docker.io",
            "library/shop",
            Some("_UPPER.x-y"),
            "shop:_UPPER.x-y",
        ),
    ] {
        let reference: Reference = text.parse().expect(text);
        assert_eq!(reference.registry(), registry, "{text}");
        assert_eq!(reference.repository(), repository, "{text}");
        assert_eq!(reference.tag(), tag, "{text}");
        assert_eq!(reference.to_string(), short, "{text}");
    }
    let both: Reference = format!("shop:1@{digest}").parse().expect("tag and digest");
    assert_eq!(both.digest(), Some(&Digest::of(b"x")));
    assert_eq!(both.full(), format!("docker.io/library/shop:1@{digest}"));
    assert_eq!(both.clone().with_default_tag().tag(), Some("1"));
    let bare: Reference = "shop".parse().expect("a name");
    assert_eq!(bare.with_default_tag().to_string(), "shop:latest");
    assert!(format!("{hex}:tag").parse::<Reference>().is_ok());
}

#[test]
fn malformed_names_are_refused_with_a_hint() {
    let text = |text: &str| {
        let error = text.parse::<Reference>().expect_err("malformed");
        format!("{error}\nhelp: {}", error.hint())
    };
    assert_snapshot!(text(""), @r"
    an image name is empty
    help: give a name such as shop:latest
    ");
    assert_snapshot!(text("Shop"), @r#"
    image name "Shop" has upper-case letters
    help: write it as "shop"
    "#);
    assert_snapshot!(text("shop:"), @r#"
    image name "shop:" has a malformed tag ""
    help: a tag is up to 128 letters, digits, _, . and -, and starts with none of the last two
    "#);
    assert_snapshot!(text("a//b"), @r#"
    image name "a//b" is malformed at ""
    help: use lower-case letters and digits, single ., _ or - between them, and / between components
    "#);
    assert_snapshot!(text("../../etc"), @r#"
    image name "../../etc" has a malformed registry ".."
    help: a registry is HOST or HOST:PORT, e.g. registry.example.org:5000
    "#);
    assert_snapshot!(text("shop@sha256:12"), @r#"
    image name "shop@sha256:12" has a malformed digest
    help: a digest is sha256: and 64 lower-case hex digits
    "#);
    assert_snapshot!(text("reg:port/shop"), @r#"
    image name "reg:port/shop" has a malformed registry "reg:port"
    help: a registry is HOST or HOST:PORT, e.g. registry.example.org:5000
    "#);
    assert_snapshot!(text(&"x".repeat(300)), @r#"
    image name "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… is longer than 255 characters
    help: shorten the name
    "#);
    assert_snapshot!(text(&Digest::of(b"x").hex()), @r#"
    image name "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" could be an image id
    help: add a tag or a registry to the name
    "#);
    for bad in [
        "-a",
        "a-",
        "a.",
        ".a",
        "_a",
        "a..b",
        "a___b",
        "a._b",
        "a/",
        "/a",
        "a b",
        "a:b:c",
        "a:-x",
        "a:.x",
        "é",
        "a@b",
        "a\nb",
        "h.x:99999/a",
        "h.x:/a",
        "-h.x/a",
        "[::g]/a",
        "[::1]x/a",
    ] {
        assert!(bad.parse::<Reference>().is_err(), "{bad}");
    }
    assert!(
        format!("a:{}", "t".repeat(129))
            .parse::<Reference>()
            .is_err()
    );
}

proptest! {
    #[test]
    fn a_name_that_is_read_reads_again_as_the_same(text in "[a-zA-Z0-9./:_@-]{1,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            prop_assert_eq!(reference.full().parse(), Ok(reference));
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in ".{0,60}") {
        let _read = (text.parse::<Reference>().is_ok(), text.parse::<Digest>().is_ok());
    }

    #[test]
    fn no_bytes_make_the_documents_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _read = (
            Manifest::decode(&bytes).is_ok(),
            Index::decode(&bytes).is_ok(),
            ImageConfig::decode(&bytes).is_ok(),
        );
    }
}

#[test]
fn a_docker_config_is_read_nulls_and_all() {
    let config = ImageConfig::decode(
        br#"{"architecture":"amd64","os":"linux","docker_version":"20.10","container":"abc",
        "config":{"Hostname":"","User":"www","Env":["A=1"],"Cmd":null,"Volumes":{"/data":{}},
        "ExposedPorts":{"80/tcp":{},"443/tcp":{}},"Labels":null,"OnBuild":null,
        "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":3}},
        "rootfs":{"type":"layers","diff_ids":null},
        "history":[{"created":"x","created_by":"RUN y","empty_layer":true}]}"#,
    )
    .expect("docker writes such");
    assert_eq!(config.config.user, "www");
    assert_eq!(config.config.exposed_ports.len(), 2);
    let health = config.config.healthcheck.as_ref().expect("a health check");
    assert_eq!((health.interval, health.retries), (5_000_000_000, 3));
    assert!(config.history[0].empty_layer);
    let json = serde_json::to_string(&config).expect("encodes");
    assert_snapshot!(json, @r#"{"architecture":"amd64","os":"linux","config":{"User":"www","ExposedPorts":{"443/tcp":{},"80/tcp":{}},"Env":["A=1"],"Volumes":{"/data":{}},"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":3}},"rootfs":{"type":"layers","diff_ids":[]},"history":[{"created":"x","created_by":"RUN y","empty_layer":true}]}"#);
    assert_eq!(
        ImageConfig::decode(json.as_bytes()).expect("decodes"),
        config
    );
}

#[test]
fn documents_that_readers_would_read_differently_are_refused() {
    let text = |bytes: &[u8]| chain(&ImageConfig::decode(bytes).expect_err("refused"));
    assert_snapshot!(
        text(br#"{"os":"linux","architecture":"a","rootfs":{"type":"layers"},"config":{"Labels":{"a":"1","a":"2"}}}"#),
        @r#"cannot decode image config: key "a" is written twice at line 1 column 91"#
    );
    assert_snapshot!(
        text(br#"{"os":"linux","os":"x"}"#),
        @r#"cannot decode image config: key "os" is written twice at line 1 column 18"#
    );
    assert_snapshot!(
        text(br#"{"os":"linux","architecture":"a","rootfs":{"type":"other"}}"#),
        @"cannot decode image config: unknown variant `other`, expected `layers` at line 1 column 57"
    );
    assert_snapshot!(
        text(&[b' '; (4 << 20) + 1]),
        @"image config has 4194305 bytes, more than the 4194304 allowed"
    );
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    assert!(text(&deep).contains("recursion limit exceeded"));
}
