//! Changes of what is in use together with the restarts they need (`--restart`), and how that is told.

use crate::change::{json_of, told};
use crate::failure::{Code, Failure};
use crate::output::{Reply, plain};
use crate::project::{Followed, Following};
use serde_json::{Value, json};
use siding_agent::restart::{Holder, Host, Move, Plan, Restarted, restart_list};
use siding_slot::{LogEntry, State, Store};

/// How a change goes about its restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restarts {
    /// It only says what must restart.
    Tell,
    /// It restarts, and is refused beforehand where somebody would have to know how and nobody does.
    Forward,
    /// It restarts, and nothing of that may hold it up.
    Back,
}

/// A change that was made.
pub(crate) struct Changed {
    pub(crate) entries: Vec<LogEntry>,
    /// Where the components stand now.
    pub(crate) state: State,
    /// What must restart for it, in the patches' words.
    list: Vec<String>,
    /// What became of the record's projections.
    pub(crate) followed: Followed,
    restarted: Option<Restarted>,
}

/// Prepares the restarts, makes the change, has everything follow it, gives the store back and restarts.
///
/// Once this returned Ok, the change survives a power cut; whatever became of the projections and the restarts.
pub(crate) fn change(
    mut store: Store,
    moves: &[Move],
    restarts: Restarts,
    following: &Following,
    write: impl FnOnce(&mut Store) -> siding_slot::Result<Vec<LogEntry>>,
) -> Result<Changed, Failure> {
    let list = restart_list(store.state(), moves);
    let prepare = || Plan::prepare(&store, moves, &Host::here());
    let plan = match restarts {
        Restarts::Tell => None,
        Restarts::Forward => Some(prepare()?),
        Restarts::Back => prepare().ok(),
    };
    if let Some(plan) = plan.as_ref().filter(|_| restarts == Restarts::Forward) {
        plan.require_hooks()?;
    }
    let entries = write(&mut store)?;
    let (state, followed) = (store.state().clone(), following.follow(&store));
    // What restarts may use the store.
    drop(store);
    let restarted = plan.filter(|_| !entries.is_empty()).map(Plan::carry_out);
    Ok(Changed { entries, state, list, followed, restarted })
}

impl Changed {
    /// What happened, or that nothing did.
    pub(crate) fn reply(&self, nothing: &str) -> Reply {
        let reply = match &self.restarted {
            None => told(&self.entries, nothing),
            Some(done) => {
                let json = json!({ "events": json_of(&self.entries), "restart": restarted_json(done) });
                Reply::new(crate::change::text_of(&self.entries), json)
            }
        };
        let reply = reply.followed_by(&self.restart_text()).needs_restart(self.needs_restart());
        self.followed.tell(reply)
    }

    /// Whether something is still to be restarted.
    pub(crate) fn needs_restart(&self) -> bool {
        match &self.restarted {
            Some(done) => !done.is_complete(),
            None => !self.entries.is_empty() && !self.list.is_empty(),
        }
    }

    /// What was restarted, or must be.
    pub(crate) fn restart_text(&self) -> String {
        match &self.restarted {
            Some(done) => restarted_text(done),
            None if self.needs_restart() => format!("to use it, restart: {}\n", self.list.join(", ")),
            None => String::new(),
        }
    }

    /// The same for programs; `null` unless it was asked for.
    pub(crate) fn restart_json(&self) -> Value {
        self.restarted.as_ref().map_or(Value::Null, restarted_json)
    }
}

/// For people: what was restarted, what could not be, who still runs old bytes.
pub(crate) fn restarted_text(done: &Restarted) -> String {
    let mut text = String::new();
    let ended = done.ended.iter().map(|holder| format!("process {} ({})", holder.pid, holder.name));
    let restarted: Vec<String> =
        done.units.iter().chain(&done.hooks).map(|name| plain(name)).chain(ended).collect();
    if !restarted.is_empty() {
        text += &format!("restarted: {}\n", restarted.join(", "));
    }
    for failed in &done.failed {
        text += &format!("not restarted: {}: {}\n", plain(&failed.what), plain(&failed.why));
    }
    for Holder { pid, name, file, .. } in done.still.iter().take(MOST) {
        text += &format!("still runs old bytes: {pid} ({name}), {}\n", plain(&file.to_string_lossy()));
    }
    match done.still.len().checked_sub(MOST) {
        Some(more) if more > 0 => text += &format!("and {more} more\n"),
        _ => {}
    }
    if done.unseen > 0 {
        let processes = if done.unseen == 1 { "process" } else { "processes" };
        text += &format!("{} {processes} may not be looked at\n", done.unseen);
    }
    text += match done {
        Restarted { reboot: true, .. } => "reboot to use it\n",
        done if !done.still.is_empty() => "restart these to use it\n",
        done if !done.failed.is_empty() => "restart that by hand to use it\n",
        Restarted { unseen: 0, .. } => "nothing runs old bytes\n",
        _ => "nothing runs old bytes, of all that may be looked at\n",
    };
    text
}

/// How many processes are told to people; programs are told all.
const MOST: usize = 20;

/// For programs.
pub(crate) fn restarted_json(done: &Restarted) -> Value {
    let holders = |holders: &[Holder]| -> Value {
        let each = holders.iter().map(|holder| {
            let components: Vec<&str> = holder.components.iter().map(siding_image::Component::as_str).collect();
            json!({ "pid": holder.pid, "name": holder.name, "file": holder.file.to_string_lossy(), "components": components })
        });
        each.collect()
    };
    let failed = done.failed.iter().map(|failed| json!({ "what": failed.what, "why": failed.why }));
    json!({
        "units": done.units, "hooks": done.hooks, "ended": holders(&done.ended), "failed": failed.collect::<Vec<_>>(),
        "reboot": done.reboot, "still": holders(&done.still), "unseen": done.unseen, "complete": done.is_complete(),
    })
}

/// As a process ends that made a change because a trial failed.
pub(crate) fn failed_code(done: &Restarted) -> Code {
    if done.is_complete() { Code::Failed } else { Code::Restart }
}
