use super::*;

fn read(text: &str) -> Result<Vec<Projection>, String> {
    parse(Path::new("/s/projections.toml"), text).map_err(|error| error.to_string())
}

fn refused(text: &str) -> String {
    read(text).expect_err("a refusal")
}

#[test]
fn every_kind_is_read() {
    let all = read(
        r#"
        [[projection]]
        component = "app"
        kind = "bind"
        at = "/opt/app"
        [[projection]]
        component = "model"
        kind = "loop"
        at = "/opt/model"
        filesystem = "erofs"
        [[projection]]
        component = "rootfs"
        kind = "grub"
        file = "/boot/grub/siding.env"
        [[projection]]
        component = "rootfs"
        kind = "uboot"
        file = "/dev/mmcblk0"
        offset = 0x100000
        size = 0x4000
        second_offset = 0x140000
        flags = "boolean"
        [[projection]]
        component = "rootfs"
        kind = "systemd-boot"
        entries = "/efi/loader/entries"
        [[projection]]
        component = "rootfs"
        kind = "efi-boot-next"
        a = 0x0001
        b = 0x0002
        [[projection]]
        component = "rootfs"
        kind = "command"
        run = ["/usr/bin/tell", "it"]
        seconds = 5
        "#,
    )
    .expect("projections");
    let kinds: Vec<String> = all.iter().map(|projection| projection.kind.describe()).collect();
    let expected = [
        "bind /opt/app",
        "loop /opt/model",
        "grub /boot/grub/siding.env",
        "uboot /dev/mmcblk0",
        "systemd-boot /efi/loader/entries",
        "efi-boot-next /sys/firmware/efi/efivars",
        "command /usr/bin/tell",
    ];
    assert_eq!(kinds, expected);
    let Kind::UBoot(places) = &all[3].kind else { panic!("no U-Boot") };
    let device = || PathBuf::from("/dev/mmcblk0");
    assert_eq!(places.copies, [(device(), 0x10_0000), (device(), 0x14_0000)]);
    assert_eq!((places.size, places.scheme), (0x4000, Scheme::Boolean));
}

#[test]
fn nothing_is_a_list_of_none() {
    assert_eq!(read("# nothing yet\n"), Ok(vec![]));
}

#[test]
fn a_mistake_is_refused_with_its_line_and_what_is_allowed() {
    let grub = "[[projection]]\ncomponent = \"x\"\nkind = \"grub\"\n";
    let known = [
        ("\n[projections]\n", "line 2: unknown key \"projections\"; allowed is only [[projection]]"),
        ("projection = 1", "line 1: projections are written as [[projection]]"),
        ("\n\n[[projection]\n", "line 3: "),
        ("[[projection]]\n", "line 1: this projection needs the key component"),
        ("[[projection]]\ncomponent = \"../x\"\n", "line 2: a component name is"),
        ("[[projection]]\ncomponent = 1\n", "line 2: component is a text"),
        (&grub.replace("grub", "lilo"), "line 3: unknown kind \"lilo\"; allowed are bind, loop, grub, uboot"),
        (grub, "line 1: this projection needs the key file"),
        (&format!("{grub}file = \"grubenv\""), "line 4: file is a path that begins with /"),
        (
            &format!("{grub}file = \"/g\"\nfiles = 1"),
            "line 5: unknown key \"files\"; for this kind allowed are component, file, kind",
        ),
        (&format!("{}file = \"/e\"\n", grub.replace("grub", "uboot")), "needs the key size"),
        (
            &format!("{}file = \"/e\"\nsize = 512\nsecond_offset = 256\n", grub.replace("grub", "uboot")),
            "line 5: size is 8 to 16777216 bytes, and two copies in one file do not overlap; got 512",
        ),
        (&format!("{}file = \"/e\"\nsize = -1\n", grub.replace("grub", "uboot")), "line 5: size is a number"),
        (
            &format!("{}file = \"/e\"\nsize = 64\nflags = \"odd\"", grub.replace("grub", "uboot")),
            "line 6: flags is incremental or boolean; got \"odd\"",
        ),
        (&format!("{}a = 1\n", grub.replace("grub", "efi-boot-next")), "needs the key b"),
        (&format!("{}a = 1\nb = 1\n", grub.replace("grub", "efi-boot-next")), "each needs its own"),
        (&format!("{}a = 1\nb = 0x10000\n", grub.replace("grub", "efi-boot-next")), "0x0000 to 0xffff"),
        (&format!("{}run = []\n", grub.replace("grub", "command")), "line 4: run is a list of texts"),
        (
            &format!("{}at = \"/m\"\nfilesystem = \"ntfs\"", grub.replace("grub", "loop")),
            "line 5: filesystem is erofs, squashfs or ext4; got \"ntfs\"",
        ),
    ];
    for (text, expected) in known {
        let error = refused(text);
        assert!(error.starts_with("/s/projections.toml, line "), "{error}");
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn components_that_a_loader_would_mix_up_are_refused() {
    let one = |name: &str, kind: &str| {
        let key = if kind == "grub" { "file" } else { "entries" };
        format!("[[projection]]\ncomponent = \"{name}\"\nkind = \"{kind}\"\n{key} = \"/x\"\n")
    };
    let both = |a: &str, b: &str, kind: &str| read(&format!("{}{}", one(a, kind), one(b, kind)));
    assert!(both("root", "rootfs", "systemd-boot").is_ok());
    assert!(both("root", "root-7", "grub").is_ok());
    assert!(both("root", "root-7", "systemd-boot").expect_err("a refusal").contains("line 5: a boot loader"));
    assert!(both("root-fs", "root_fs", "grub").expect_err("a refusal").contains("root-fs and root_fs apart"));
    assert!(read(&one("g++", "systemd-boot")).expect_err("a refusal").contains("no '+'"));
}
