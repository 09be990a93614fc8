//! What follows from the record: `projections.toml` of the store, carried out after each change, and `siding project`.
//!
//! The record is written first and stands, whatever becomes of its projections. They are made while the store's lock
//! is held, so that no older record overtakes a newer.

use crate::args::Project;
use crate::change::open;
use crate::failure::{Code, Failure};
use crate::output::{Reply, plain};
use serde_json::{Value, json};
use siding_image::Component;
use siding_projection::{Agreement, Compared, Done, Error, Projections};
use siding_slot::{Booted, Snapshot, State, Trouble};
use std::collections::BTreeMap;
use std::path::Path;

/// What is to follow the record, or why that cannot be read.
#[derive(Debug)]
pub(crate) struct Following {
    projections: Result<Projections, Error>,
}

impl Following {
    /// For verbs that go back or keep what runs: nothing holds them up. A file that makes no sense is told afterwards.
    pub(crate) fn of(root: &Path) -> Self {
        Self { projections: Projections::load(root) }
    }

    /// For verbs that bring something new: a file that makes no sense is told before anything is changed.
    pub(crate) fn checked(root: &Path) -> Result<Self, Failure> {
        let projections = Projections::load(root).map_err(Failure::failed)?;
        Ok(Self { projections: Ok(projections) })
    }

    /// What the boot loaders did this boot. Without a file that makes sense it is not known which orders they had,
    /// so that nothing is held against them.
    pub(crate) fn seen(&self, state: &State, cmdline: &str) -> BTreeMap<Component, Booted> {
        self.projections.as_ref().map_or_else(|_| BTreeMap::new(), |all| all.seen(state, cmdline))
    }

    /// Makes only that follow which has something else to say since the state was `before`: for verbs that mostly change
    /// nothing that follows the record. A file that makes no sense is told only if something should have followed.
    pub(crate) fn follow_since(&self, before: &State, store: &Snapshot) -> Followed {
        let after = store.state();
        let told = |state: &State| -> Vec<_> {
            state.components().map(|(name, held)| (name.clone(), held.active, held.way_back())).collect()
        };
        match &self.projections {
            Ok(all) => Self { projections: Ok(all.changed(before, after)) }.follow(store),
            Err(_) if told(before) == told(after) => Followed::in_store(store),
            Err(_) => self.follow(store),
        }
    }

    /// The turn that a component's boot loader has been told.
    pub(crate) fn told_turn(&self, component: &Component) -> Option<u64> {
        self.projections.as_ref().ok()?.told_turn(component)
    }

    /// Whether each projection says what the record does; nothing is changed. The error is why it is not known what is
    /// to follow.
    pub(crate) fn compare(&self, store: &Snapshot) -> Result<Vec<Compared>, String> {
        self.projections.as_ref().map(|all| all.compare(store)).map_err(ToString::to_string)
    }

    /// Makes everything follow the record.
    ///
    /// Once this returned, what boot loaders were told survives a power cut, but for what is told as failed.
    pub(crate) fn follow(&self, store: &Snapshot) -> Followed {
        let in_store = Followed::in_store(store);
        let projections = match &self.projections {
            Ok(projections) if projections.is_empty() => return in_store,
            Ok(projections) => projections,
            Err(error) => return Followed { listed: true, unread: Some(error.to_string()), ..in_store },
        };
        let (done, failures) = match projections.apply(store) {
            Ok(done) => (done, Vec::new()),
            Err(Error::Failed { done, failures }) => (done, failures),
            Err(error) => return Followed { listed: true, unread: Some(error.to_string()), ..in_store },
        };
        let changed = done.into_iter().filter(|done| done.changed).collect();
        let failed = failures.into_iter().map(|failure| Failed {
            why: failure.reason.to_string(),
            component: failure.component,
            projection: failure.projection,
        });
        Followed { listed: true, changed, failed: failed.collect(), ..in_store }
    }
}

/// What became of the projections.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// Whether there are any.
    listed: bool,
    changed: Vec<Done>,
    failed: Vec<Failed>,
    /// Why it is not known what is to follow.
    unread: Option<String>,
    /// What of the store itself does not follow: links, and the log.
    troubles: Vec<Trouble>,
}

#[derive(Debug)]
struct Failed {
    component: Component,
    projection: String,
    why: String,
}

impl Followed {
    /// Where nothing else is to follow.
    pub(crate) fn in_store(store: &Snapshot) -> Self {
        Self { troubles: store.troubles().to_vec(), ..Self::default() }
    }

    /// Whether everything follows the record.
    pub(crate) fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.unread.is_none() && self.troubles.is_empty()
    }

    /// Without what is meant for components that the store has not got yet: while a device is set up they come one
    /// after the other.
    pub(crate) fn so_far(mut self, state: &State) -> Self {
        self.failed.retain(|failed| state.get(&failed.component).is_some());
        self
    }

    /// For people: what says something else now, and what does not follow.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Done { component, projection, .. } in &self.changed {
            text += &format!("{component}: {} follows\n", plain(projection));
        }
        for Failed { component, projection, why } in &self.failed {
            text += &format!("{component}: {} does NOT follow: {}\n", plain(projection), plain(why));
        }
        for Trouble { component, what } in &self.troubles {
            let whose = component.as_ref().map_or_else(String::new, |component| format!("{component}: "));
            text += &format!("{whose}the store does NOT follow: {}\n", plain(what));
        }
        if let Some(why) = &self.unread {
            text += &format!("nothing follows: {}\n", plain(why));
        }
        if !self.is_complete() {
            text += "the record stands, whatever the power does; `siding project` makes the rest follow it once \
                     that is mended, and `siding boot` at the next start does too\n";
        }
        text
    }

    /// With what became of them added to a verb's answer, which says that it failed if not all follow.
    pub(crate) fn tell(&self, reply: Reply) -> Reply {
        if !self.listed && self.troubles.is_empty() {
            return reply;
        }
        let mut reply = reply.followed_by(&self.text());
        if self.listed {
            let (followed, not) = self.json();
            reply = reply.beside("projected", followed).beside("not_projected", not);
        }
        if !self.troubles.is_empty() {
            let name = |trouble: &Trouble| trouble.component.as_ref().map(ToString::to_string);
            let json = self
                .troubles
                .iter()
                .map(|trouble| json!({ "component": name(trouble), "why": trouble.what }));
            reply = reply.beside("troubles", json.collect());
        }
        if self.is_complete() { reply } else { reply.ends_with(Code::Failed) }
    }

    fn json(&self) -> (Value, Value) {
        let changed = self
            .changed
            .iter()
            .map(|done| json!({ "component": done.component.as_str(), "projection": done.projection }));
        let failed = self.failed.iter().map(|failed| {
            json!({ "component": failed.component.as_str(), "projection": failed.projection, "why": failed.why })
        });
        let unread =
            self.unread.iter().map(|why| json!({ "component": null, "projection": null, "why": why }));
        (changed.collect(), failed.chain(unread).collect())
    }
}

/// One projection as `siding status --json` has it.
pub(crate) fn compared_json(compared: &Compared) -> Value {
    let (agrees, says, why) = match &compared.agreement {
        Agreement::Agrees => (Some(true), None, None),
        Agreement::Stale { says } => (Some(false), Some(says), None),
        Agreement::Unknown { why } => (None, None, Some(why.clone())),
        _ => (None, None, None),
    };
    json!({ "projection": compared.projection, "agrees": agrees, "says": says, "why": why })
}

pub(crate) fn project(args: &Project) -> Result<Reply, Failure> {
    let store = open(&args.store)?;
    let following = Following::checked(store.root())?;
    let followed = following.follow(&store);
    let text = match (&followed, followed.listed) {
        (followed, false) if followed.is_complete() => {
            let file = store.root().join(siding_projection::FILE);
            format!("nothing is to follow the record: there is no {} that lists anything", file.display())
        }
        (followed, _) if followed.is_complete() && followed.changed.is_empty() => {
            "everything follows the record already".to_owned()
        }
        _ => String::new(),
    };
    let empty = json!({ "projected": [], "not_projected": [] });
    Ok(followed.tell(Reply::new(text, empty)))
}
