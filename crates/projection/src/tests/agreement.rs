//! Projections compared with the record, and left as they are.

use super::*;

const KINDS: [&str; 4] = ["grub", "uboot", "systemd-boot", "efi-boot-next"];

impl Device {
    /// Every file beside the store, with its bytes.
    fn loaders(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let beside = ["", "entries", "efi"].map(|name| self.file(name));
        let names = beside
            .iter()
            .flat_map(|dir| io::list(dir).expect("names").into_iter().map(|name| dir.join(name)));
        names
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), io::read(&path).expect("bytes")))
            .collect()
    }

    /// What is said of each projection: nothing where it agrees.
    fn compared(&self, projections: &Projections) -> Vec<String> {
        let before = self.loaders();
        let compared = projections.compare(&self.store);
        assert_eq!(self.loaders(), before, "something was written");
        let text = |compared: Compared| match compared.agreement {
            Agreement::Agrees => String::new(),
            Agreement::Stale { says } => says,
            Agreement::Unknown { why } => format!("unknown: {why}"),
        };
        compared.into_iter().map(text).collect()
    }
}

#[test]
fn what_does_not_follow_says_what_it_says() {
    let mut device = Device::new();
    let projections = device.projections(&KINDS);
    assert_eq!(device.compared(&projections), ["nothing"; 4]);
    projections.apply(&device.store).expect("projections");
    assert_eq!(device.compared(&projections), [""; 4]);

    device.switch(b"new", "1 (a)", 2);
    let base = "slot base, back to base, turn 0";
    assert_eq!(device.compared(&projections), [base, base, "slot base, turn 0", "slot base, turn 0"]);
    projections.apply(&device.store).expect("projections");
    assert_eq!(device.compared(&projections), [""; 4]);

    // A loader that has counted down, and that the record has not heard of yet, agrees.
    assert_eq!((Grub::start(&device), UBoot::start(&device)), (Slot::A, Slot::A));
    assert_eq!(SystemdBoot::start(&device), Slot::A);
    assert_eq!(device.compared(&projections), [""; 4]);

    device.store.rollback(&[name()], "a test", NOW).expect("a rollback");
    let a = "slot a, back to base, 1 try, turn 1";
    assert_eq!(device.compared(&projections), [a, a, "slot a, 1 try, turn 1", "slot a, turn 1"]);
}

#[test]
fn what_cannot_be_seen_is_not_called_stale() {
    let device = Device::new();
    std::fs::remove_file(device.file("grubenv")).expect("a file");
    let said = device.compared(&device.projections(&["grub", "exit 3"]));
    assert!(
        said[0].starts_with("unknown: cannot read /") && said[0].contains("correct projections.toml"),
        "{said:?}"
    );
    assert_eq!(said[1], "unknown: only the command itself knows");
    let text = "[[projection]]\ncomponent = 'x'\nkind = 'grub'\nfile = '/x'\n";
    let unknown = Projections::parse(Path::new("p"), text).expect("projections");
    assert!(device.compared(&unknown)[0].contains("has no component x; init it"));
}
