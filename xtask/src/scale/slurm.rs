//! Slurm with one node, on loopback, with keys, ports and state of its own.

use crate::{Result, measure, tools, workspace};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// munged, slurmctld and slurmd; they end when this is dropped.
pub(super) struct Cluster {
    config: PathBuf,
    folder: PathBuf,
    daemons: Vec<Child>,
}

/// The node is up long before.
const PATIENCE: Duration = Duration::from_secs(60);

impl Cluster {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        if !tools::in_path("slurmctld") || !tools::in_path("munged") {
            measure::ask(
                "apt-get",
                &["install", "-y", "-q", "--no-install-recommends", "slurm-wlm", "munge"],
            );
        }
        if !tools::in_path("slurmctld") || !tools::in_path("munged") {
            return Err("Debian's slurm-wlm and munge could not be installed".to_owned());
        }
        let failed = |e: std::io::Error| format!("cannot write to {}: {e}", folder.display());
        for part in ["", "state", "spool"] {
            fs::create_dir_all(folder.join(part)).map_err(failed)?;
        }
        let key = folder.join("munge.key");
        fs::write(&key, [7; 1024]).map_err(failed)?;
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).map_err(failed)?;
        let config = folder.join("slurm.conf");
        fs::write(&config, config_text(folder)?).map_err(failed)?;
        let mut cluster = Self { config, folder: folder.to_owned(), daemons: Vec::new() };
        cluster.daemon("munged", &munged(folder))?;
        cluster.until("munged", || folder.join("munge.socket").exists())?;
        cluster.daemon("slurmctld", &["-D".into(), "-c".into()])?;
        cluster.daemon("slurmd", &["-D".into(), "-c".into(), "-N".into(), NODE.into()])?;
        cluster.until("slurmd", || {
            let idle = cluster.command("sinfo").args(["-h", "-o", "%t"]).output();
            idle.is_ok_and(|output| output.stdout.starts_with(b"idle"))
        })?;
        Ok(cluster)
    }

    /// Runs contrib/scale/slurm.sh as an array of which so many tasks run at once.
    pub(super) fn run(
        &self,
        siding: &Path,
        release: &Path,
        repo: &Path,
        workers: usize,
        shares: usize,
    ) -> Result<()> {
        let mut command = self.command("sbatch");
        command.arg("--wait").arg(format!("--array=0-{}%{workers}", shares - 1)).arg("--output");
        command.arg(self.folder.join("task-%a.log")).arg(workspace().join("contrib/scale/slurm.sh"));
        command.args([release, repo]).env("SIDING", siding);
        measure::run(&mut command, None).map(drop).map_err(|e| format!("{e}\n{}", self.logs()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", &self.config).stdin(Stdio::null());
        command
    }

    fn daemon(&mut self, program: &str, args: &[String]) -> Result<()> {
        let log = fs::File::create(self.folder.join(format!("{program}.log")));
        let log = log.and_then(|log| Ok((log.try_clone()?, log))).map_err(|e| format!("{program}: {e}"))?;
        let child = self.command(program).args(args).stdout(log.0).stderr(log.1).spawn();
        self.daemons.push(child.map_err(|e| format!("{program}: {e}"))?);
        Ok(())
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !done() {
            if start.elapsed() > PATIENCE {
                return Err(format!("{what} did not come up\n{}", self.logs()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The ends of all logs.
    fn logs(&self) -> String {
        let mut logs = String::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "log") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(8).collect();
                logs.push_str(&format!("{}:\n", path.display()));
                lines.iter().rev().for_each(|line| logs.push_str(&format!("  {line}\n")));
            }
        }
        logs
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

const NODE: &str = "node1";

fn munged(folder: &Path) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    vec![
        "--foreground".into(),
        "--force".into(),
        format!("--socket={}", at("munge.socket")),
        format!("--key-file={}", at("munge.key")),
        format!("--pid-file={}", at("munge.pid")),
        format!("--seed-file={}", at("munge.seed")),
        format!("--log-file={}", at("munged-own.log")),
    ]
}

fn config_text(folder: &Path) -> Result<String> {
    let port = || {
        let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        listener.map(|address| address.port()).map_err(|e| format!("no port on loopback: {e}"))
    };
    let host = measure::ask("hostname", &["-s"]).ok_or("this machine has no name")?;
    let folder = folder.display();
    // More processors than there may be: four workers shall be four.
    Ok(format!(
        "ClusterName=siding\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
         SlurmctldPort={}\nSlurmdPort={}\nAuthType=auth/munge\nCredType=cred/munge\n\
         AuthInfo=socket={folder}/munge.socket\nStateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\n\
         SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd.pid\nMpiDefault=none\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
         SelectTypeParameters=CR_CPU\nSchedulerParameters=sched_interval=1,bf_interval=1\nMinJobAge=60\n\
         ReturnToService=2\nSlurmdParameters=config_overrides\n\
         NodeName={NODE} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN\n\
         PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
        port()?,
        port()?
    ))
}
