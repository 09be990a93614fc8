//! The package in a fresh Debian of its own: installed, started twice, removed, purged.
//!
//! The first start is that of a machine that knows nothing of siding yet; then there is a store, and an agent that is
//! told of no repository. What is asked after each start is in `started.sh`, which runs inside.

use super::{install, write};
use crate::{Result, measure, tools};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Says what held; fails at the first thing that did not.
pub(super) fn check(deb: &Path, place: &Path) -> Result<()> {
    install(&[("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container")]);
    if let Some(missing) =
        ["mmdebstrap", "systemd-nspawn"].into_iter().find(|program| !tools::in_path(program))
    {
        println!("skipped the fresh Debian: there is no {missing}, and it cannot be installed");
        return Ok(());
    }
    let debian = Debian::new(&place.join("root"))?;
    debian.bring(deb, "siding.deb")?;
    debian.run("dpkg --install /siding.deb")?;
    println!("ok      installed in a fresh Debian {}", debian.name);
    for (what, script) in INSTALLED {
        debian.run(script).map_err(|why| format!("{what}: {why}"))?;
        println!("ok      {what}");
    }
    for (what, state) in [("started without a store", "nothing"), ("started with a store", "store")] {
        debian.start(state).map_err(|why| format!("{what}: {why}"))?;
        println!("ok      {what}");
    }
    for (what, script) in GONE {
        debian.run(script).map_err(|why| format!("{what}: {why}"))?;
        println!("ok      {what}");
    }
    fs::remove_dir_all(&debian.root).map_err(|e| format!("{}: {e}", debian.root.display()))
}

/// What holds once it is installed, each with its proof.
const INSTALLED: [(&str, &str); 7] = [
    ("siding --version", "siding --version | grep -q '^siding [0-9]'"),
    ("siding demo", "siding demo >/dev/null"),
    (
        "man finds the pages",
        "man -w siding siding-publish-plan siding-agent && man -k siding-diff && man siding >/dev/null",
    ),
    (
        "bash completes by its own means",
        "bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader siding; complete -p siding'",
    ),
    (
        "systemd takes the units",
        "cd /usr/lib/systemd/system && systemd-analyze verify siding-*.service siding-*.timer",
    ),
    (
        "boot, health and the two timers are enabled, nothing else",
        "cd /etc/systemd/system && test \"$(find . -name 'siding-*' -printf '%f ' | tr ' ' '\\n' | sort | xargs)\" = \
         'siding-agent.timer siding-boot.service siding-deadline.timer siding-health.service'",
    ),
    (
        "the policy is a file of the administrator's, and siding reads it",
        "grep -q /etc/siding/agent.toml /var/lib/dpkg/info/siding.conffiles && \
         siding set --store /tmp/none | grep -q mirrors",
    ),
];

/// What holds once it is taken away again.
const GONE: [(&str, &str); 3] = [
    ("what was disabled stays disabled over an upgrade", DISABLED),
    ("removed: the binary is gone, the policy and the store stay", REMOVED),
    ("purged: the policy and the units' links are gone, the store stays", PURGED),
];

const DISABLED: &str = "systemctl disable -q siding-agent.timer && dpkg --install /siding.deb && \
    ! systemctl -q is-enabled siding-agent.timer && systemctl -q is-enabled siding-boot.service";
const REMOVED: &str = "dpkg --remove siding && test ! -e /usr/bin/siding -a -e /etc/siding/agent.toml -a \
    -e /var/lib/siding/record";
const PURGED: &str = "dpkg --purge siding 2>&1 | grep '/var/lib/siding stays' && test ! -e /etc/siding -a \
    -e /var/lib/siding/record && test -z \"$(find /etc/systemd -name 'siding-*')\"";

/// A start that takes this many seconds hangs.
const LIMIT: &str = "300";

struct Debian {
    root: std::path::PathBuf,
    name: String,
}

impl Debian {
    /// The release that runs here, whose C library the binary was linked with.
    fn new(root: &Path) -> Result<Self> {
        const WITH: &str = "--include=systemd-sysv,dbus,man-db,bash-completion";
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let name = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let name = name.ok_or("/etc/os-release names no release of Debian")?.to_owned();
        let mut command = Command::new("mmdebstrap");
        measure::run(command.args(["--quiet", "--variant=minbase", WITH, &name]).arg(root), None)?;
        Ok(Self { root: root.to_owned(), name })
    }

    fn bring(&self, file: &Path, name: &str) -> Result<()> {
        fs::copy(file, self.root.join(name)).map(drop).map_err(|e| format!("{}: {e}", file.display()))
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--directory"]);
        command.arg(&self.root);
        command
    }

    /// Runs a script inside; fails as it does.
    fn run(&self, script: &str) -> Result<String> {
        let mut command = self.inside();
        let (_, said) = measure::run(command.args(["--pipe", "sh", "-c", script]), None)?;
        Ok(said)
    }

    /// Starts the system; `started.sh` looks around in it and then ends it.
    fn start(&self, state: &str) -> Result<()> {
        let unit = format!(
            "[Unit]\nAfter=multi-user.target systemd-user-sessions.service\n[Service]\nType=oneshot\n\
             ExecStart=/bin/sh /started.sh {state}\nStandardOutput=append:/said\nStandardError=inherit\n\
             ExecStopPost=/bin/systemctl poweroff --no-block\n"
        );
        let wants = self.root.join("etc/systemd/system/default.target.wants");
        let failed = |e| format!("{}: {e}", wants.display());
        fs::create_dir_all(&wants).map_err(failed)?;
        write(&self.root.join("started.sh"), include_str!("started.sh"))?;
        write(&wants.join("../started.service"), &unit)?;
        // systemd follows links there and passes over files.
        let link = wants.join("started.service");
        symlink("../started.service", &link).map_err(|e| format!("{}: {e}", link.display()))?;
        let boot = self.inside();
        let mut limited = Command::new("timeout");
        limited.arg(LIMIT).arg(boot.get_program()).args(boot.get_args()).arg("--boot");
        measure::run(&mut limited, None)?;
        let said = self.root.join("said");
        let heard = fs::read_to_string(&said).unwrap_or_default();
        // The next start says its own.
        drop(fs::remove_file(&said));
        fs::remove_file(wants.join("started.service")).map_err(failed)?;
        if heard.lines().last() == Some("all is well") { Ok(()) } else { Err(heard) }
    }
}
