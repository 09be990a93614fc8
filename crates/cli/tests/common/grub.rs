//! A device whose boot loader is GRUB, and what its environment block says.

use super::{Lab, testdata};
use std::fs;

/// A device whose GRUB has an environment block that GRUB's own tool made.
pub(crate) fn with_grub() -> Lab {
    let lab = Lab::device();
    fs::copy(testdata().join("loaders/grub.env"), lab.path("grubenv")).unwrap();
    list(&lab, &[grub(&lab)]);
    lab
}

/// Its projection.
pub(crate) fn grub(lab: &Lab) -> String {
    format!("component = 'lib'\nkind = 'grub'\nfile = '{}'", lab.path("grubenv").display())
}

/// A command that appends a line to the file `told`.
pub(crate) fn command(lab: &Lab) -> String {
    let told = lab.path("told");
    let line = "$SIDING_COMPONENT $SIDING_SLOT $SIDING_TRIES";
    format!("component = 'lib'\nkind = 'command'\nrun = ['sh', '-c', 'echo {line} >> {}']", told.display())
}

/// Lists these projections.
pub(crate) fn list(lab: &Lab, projections: &[String]) {
    let text: String = projections.iter().map(|text| format!("[[projection]]\n{text}\n")).collect();
    lab.write("store/projections.toml", text.as_bytes());
}

/// What the block says of `lib`: slot, back, tries, turn.
pub(crate) fn block(lab: &Lab) -> String {
    let text = String::from_utf8(lab.read("grubenv")).unwrap();
    assert!(text.len() == 1024 && text.contains("\nboot_success=1\n"), "{text}");
    let value = |name: &str| {
        let line = format!("\nsiding_lib_{name}=");
        text.split_once(&line).map_or("", |(_, rest)| rest.lines().next().unwrap()).to_owned()
    };
    ["slot", "back", "tries", "turn"].map(value).join(" ")
}

/// The loader starts this slot, and has so many tries left after it.
pub(crate) fn loader(lab: &Lab, slot: &str, tries: Option<u32>) {
    lab.write("cmdline", format!("ro quiet siding.lib={slot} panic=10\n").as_bytes());
    let Some(tries) = tries else { return };
    let text = String::from_utf8(lab.read("grubenv")).unwrap();
    let at = text.find("\nsiding_lib_tries=").unwrap() + "\nsiding_lib_tries=".len();
    let mut bytes = text.into_bytes();
    bytes[at] = b'0' + tries as u8;
    lab.write("grubenv", &bytes);
}
