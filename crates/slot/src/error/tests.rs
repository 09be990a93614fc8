use super::*;
use crate::state::{Denied, Slot};
use siding_image::Component;

fn every_refusal() -> Vec<Refusal> {
    let component: Component = "openssl".parse().unwrap();
    let version = "3.0.20 (a) [0123456789ab]".to_owned();
    let denied = Box::new(Denied {
        digest: Digest::of(b""),
        version: "3.0.20 (a)".parse().unwrap(),
        reason: "health check 10-https: connection refused".into(),
        at: 1_772_355_900,
    });
    vec![
        Refusal::Unknown { component: component.clone() },
        Refusal::Exists { component: component.clone() },
        Refusal::OnTrial { component: component.clone(), version: version.clone() },
        Refusal::Denied { component: component.clone(), denied },
        Refusal::NotSealed { component: component.clone(), slot: Slot::A },
        Refusal::NothingReady { component: component.clone() },
        Refusal::NotStaging { component: component.clone(), slot: Slot::B },
        Refusal::AlreadyActive { component: component.clone(), version: version.clone() },
        Refusal::IsBase { component: component.clone(), version: version.clone() },
        Refusal::BelowFloor { component: component.clone(), version: version.clone(), epoch: 3, floor: 4 },
        Refusal::Failed { component: component.clone(), version, reason: "10-https: exit 1".into() },
        Refusal::NoBase { component: component.clone() },
        Refusal::NothingToSupersede { component: component.clone() },
        Refusal::NoWayBack { component: component.clone() },
        Refusal::IsWayBack { component: component.clone(), slot: Slot::B },
        Refusal::OnBase { component: component.clone() },
        Refusal::SourceWouldGo { component: component.clone() },
        Refusal::Twice { component },
    ]
}

fn every_error() -> Vec<(Error, Kind)> {
    let path = PathBuf::from("/var/lib/siding/record");
    let identity =
        |size| Identity { kind: siding_image::Kind::File, size, digest: Digest::of(&[size as u8]) };
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let refusals = every_refusal().into_iter().map(|refusal| {
        let kind = match &refusal {
            Refusal::Unknown { .. } => Kind::NotFound,
            Refusal::Denied { .. } => Kind::Denied,
            Refusal::Twice { .. } => Kind::Usage,
            _ => Kind::Refused,
        };
        (Error::Refused(refusal), kind)
    });
    let others = vec![
        (Error::NoStore { root: "/var/lib/siding".into() }, Kind::NotFound),
        (Error::Busy { root: "/var/lib/siding".into() }, Kind::Busy),
        (Error::damaged(&path, "neither of its two copies is whole"), Kind::Corrupt),
        (Error::NewerRecord { path: path.clone(), version: 2 }, Kind::Refused),
        (Error::StrayBase { path: "/var/lib/siding/components/openssl/base".into() }, Kind::Refused),
        (
            Error::Mounted {
                path: "/var/lib/siding/components/openssl/a".into(),
                at: "/var/lib/siding/components/openssl/a/image/data".into(),
            },
            Kind::Busy,
        ),
        (
            Error::NothingThere {
                component: "openssl".parse().unwrap(),
                slot: Slot::A,
                version: "3.0.20 (a)".into(),
                what: "/var/lib/siding/components/openssl/a/image is missing".into(),
            },
            Kind::Corrupt,
        ),
        (Error::InUse { path: "/dev/vda3".into(), how: "it is mounted on /srv".into() }, Kind::Busy),
        (
            Error::SharedDevice {
                path: "/dev/vda3".into(),
                component: "openssl".parse().unwrap(),
                other: "rootfs".parse().unwrap(),
                slot: Slot::B,
                place: "/dev/disk/by-partlabel/b".into(),
            },
            Kind::Refused,
        ),
        (Error::RecordFull { needed: 300_000, limit: 196_566 }, Kind::NoSpace),
        (Error::Poisoned { first: "cannot flush record: Input/output error".into() }, Kind::Io),
        (Error::io("flush", &path, io::Error::other("Input/output error")), Kind::Io),
        (Error::io("write", &path, full()), Kind::NoSpace),
        (
            siding_image::Error::Unsupported { path: "/old/dev/log".into(), what: "socket" }.into(),
            Kind::Refused,
        ),
        (
            Error::NotAsWritten {
                path: path.clone(),
                what: "mode",
                expected: "0644".into(),
                got: "0600".into(),
            },
            Kind::Corrupt,
        ),
        (Error::NoContent { path: path.clone(), digest: Digest::of(b"") }, Kind::Corrupt),
        (Error::WrongImage { expected: identity(5), got: identity(6) }, Kind::Corrupt),
        (Error::Unreadable { path: "/out/etc/shadow".into(), mode: 0 }, Kind::Refused),
        (Error::TooSmall { path: "/dev/vda3".into(), has: 100, needs: 200 }, Kind::NoSpace),
        (Error::NoSpace { path: "/var/lib".into(), needed: 47_000_000, free: 8192 }, Kind::NoSpace),
        (Error::Misused { path, what: "begin was called twice" }, Kind::Usage),
    ];
    refusals.chain(others).collect()
}

/// Run with `--nocapture` to read them as a person would.
#[test]
fn every_error_reads_as_a_sentence_and_has_its_kind() {
    for (error, kind) in every_error() {
        println!("{kind:?}: {error}\n");
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.len() > 25 && !text.ends_with('.') && !text.contains('\n'), "{text}");
    }
}

#[test]
fn an_error_comes_through_an_io_result_as_it_was() {
    for (error, kind) in every_error() {
        let text = error.to_string();
        let back = Error::io("do", Path::new("x"), io::Error::from(error));
        assert_eq!((back.to_string(), back.kind()), (text, kind));
    }
}
