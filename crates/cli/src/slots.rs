//! `siding verify --slot`: whether sealed slots still hold what their seals say.

use crate::args::{SlotName, Verify};
use crate::bytes::size;
use crate::failure::{Code, Failure};
use crate::output::{Paint, Reply, plain};
use crate::project::Following;
use crate::time::now;
use serde_json::json;
use siding_agent::{Damage, check};
use siding_image::Component;
use siding_slot::{ComponentState, SealedImage, Slot, Snapshot, State, Store, Verified};

/// Without `--condemn` the store's lock is not taken, so that a long read holds nobody up. With it the slot that is
/// emptied may be the way back, which boot loaders are told.
pub(crate) fn verify(args: &Verify) -> Result<Reply, Failure> {
    let root = &args.store.store;
    let mut store = if args.condemn { Some(siding_agent::open_at_once(root)?) } else { None };
    let view = match &store {
        Some(store) => Snapshot::clone(store),
        None => Store::view(root)?,
    };
    let found = examine(args, &view, &mut store);
    let followed = store.as_ref().map(|store| Following::of(root).follow_since(view.state(), store));
    let found = found?;
    let damaged = found.iter().any(Finding::is_bad);
    let text = match found.is_empty() {
        true => "nothing is sealed there".to_owned(),
        false => found.iter().map(|finding| finding.text(view.state()) + "\n").collect(),
    };
    let slots: Vec<_> = found.iter().map(|finding| finding.json(view.state())).collect();
    let reply = Reply::new(text, json!({ "ok": !damaged, "slots": slots }));
    let reply = followed.iter().fold(reply, |reply, followed| followed.tell(reply));
    Ok(if damaged { reply.ends_with(Code::Corrupt) } else { reply })
}

/// Reads every slot that is meant; with a store that may be written, those that are damaged are emptied.
fn examine(args: &Verify, view: &Snapshot, store: &mut Option<Store>) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    for (component, slot, image) in chosen(&args.slot, view.state())? {
        let checked = check(view, &component, slot)?;
        let mut finding = Finding { checked, component, slot, image, condemned: false, replaced: false };
        let may_condemn = Slot::PATCHED.contains(&slot) && !finding.is_active(view.state());
        match (&finding.checked, &mut *store) {
            (Err(damage), Some(store)) if may_condemn => {
                let reason = format!("its image is damaged: {damage}");
                store.condemn(&finding.component, slot, &reason, now())?;
                finding.condemned = true;
            }
            // Whoever has the lock may have written the slot anew meanwhile.
            (Err(_), None) => finding.replaced = finding.is_replaced(Store::view(&args.store.store)?.state()),
            _ => {}
        }
        found.push(finding);
    }
    Ok(found)
}

/// The sealed slots that are meant, each once, in order of name.
fn chosen(named: &[SlotName], state: &State) -> Result<Vec<(Component, Slot, SealedImage)>, Failure> {
    for name in named {
        let Some(component) = &name.component else { continue };
        let held = state.require(component).map_err(siding_slot::Error::from)?;
        if let Some(slot) = name.slot.filter(|slot| held.image(*slot).is_none()) {
            let component = component.clone();
            return Err(siding_slot::Error::from(siding_slot::Refusal::NotSealed { component, slot }).into());
        }
    }
    let is_meant = |component: &Component, slot: Slot| {
        named.iter().any(|name| {
            name.component.as_ref().is_none_or(|named| named == component)
                && name.slot.is_none_or(|named| named == slot)
        })
    };
    let mut all = Vec::new();
    for (component, held) in state.components() {
        let sealed = Slot::ALL.into_iter().filter(|slot| is_meant(component, *slot));
        all.extend(sealed.filter_map(|slot| Some((component.clone(), slot, held.image(slot)?.clone()))));
    }
    Ok(all)
}

/// What was found in one slot.
struct Finding {
    component: Component,
    slot: Slot,
    image: SealedImage,
    checked: Result<Verified, Damage>,
    /// The slot was emptied for it.
    condemned: bool,
    /// The slot was written by another process meanwhile, so that the damage means nothing.
    replaced: bool,
}

impl Finding {
    fn is_bad(&self) -> bool {
        self.checked.is_err() && !self.replaced
    }

    fn is_active(&self, state: &State) -> bool {
        state.get(&self.component).is_some_and(|held| held.active == self.slot)
    }

    fn is_replaced(&self, state: &State) -> bool {
        state.get(&self.component).and_then(|held| held.image(self.slot)) != Some(&self.image)
    }

    fn text(&self, state: &State) -> String {
        let Self { component, slot, image, .. } = self;
        let (paint, name) = (Paint::stdout(), format!("{component} {} in slot {slot}", image.version));
        match &self.checked {
            Ok(verified) => format!("{} {name}: {}, as sealed", paint.good("ok"), how(verified, image)),
            Err(_) if self.replaced => format!("–  {name} was replaced while it was read"),
            Err(damage) => {
                let (damage, remedy) = (plain(&damage.to_string()), self.remedy(state));
                format!("{} {name}: {damage}\n   {remedy}", paint.bad("damaged"))
            }
        }
    }

    /// What to do about it.
    fn remedy(&self, state: &State) -> String {
        let Self { component, slot, .. } = self;
        let back = |held: &ComponentState| {
            let to = held.way_back()?;
            held.image(to).map(|image| format!("{} in {to}", image.version))
        };
        match slot {
            _ if self.condemned => "the slot was emptied; install its patch again to have it back".to_owned(),
            Slot::Base => {
                let can_switch = state.get(component).is_some_and(|held| {
                    held.active == Slot::Base && held.trial.is_none() && held.ready().is_some()
                });
                let switch = format!("; until then `siding switch {component}` runs it from a sealed slot");
                format!(
                    "patches cannot start from it as it is; `siding init {component} IMAGE --version '{}' --replace` with its own image puts it in place anew and leaves all else{}",
                    self.image.version,
                    if can_switch { switch.as_str() } else { "" }
                )
            }
            _ if self.is_active(state) && state.get(component).is_some_and(|held| held.places.is_some()) => {
                let back = state.get(component).and_then(back);
                let back =
                    back.map(|back| format!("`siding rollback {component}` goes back to {back}; else "));
                format!("it is in use: {}write the image to its device again", back.unwrap_or_default())
            }
            _ if self.is_active(state) => {
                let back = state.get(component).and_then(back).unwrap_or_default();
                format!(
                    "it is in use: `siding remove {component}` goes back to the base, `siding rollback {component}` to {back} and denies it; then install its patch again, which replaces it"
                )
            }
            _ => format!(
                "install its patch again, which replaces it, or empty the slot with `siding verify --slot {component}:{slot} --condemn`"
            ),
        }
    }

    fn json(&self, state: &State) -> serde_json::Value {
        json!({
            "component": self.component.as_str(), "slot": self.slot.name(), "version": self.image.version.to_string(),
            "bytes": self.image.identity.size, "digest": self.image.identity.digest.to_string(),
            "active": self.is_active(state), "ok": !self.is_bad(), "condemned": self.condemned, "replaced": self.replaced,
            "file": self.checked.as_ref().err().map(|damage| &damage.path),
            "what": self.checked.as_ref().err().map(|damage| &damage.what),
            "files_read": self.checked.as_ref().ok().map(|verified| verified.read),
            "files_enforced": self.checked.as_ref().ok().map(|verified| verified.enforced),
            "remedy": self.is_bad().then(|| self.remedy(state)),
        })
    }
}

/// How an image was found to be right.
fn how(verified: &Verified, image: &SealedImage) -> String {
    let size = size(image.identity.size);
    match (verified.enforced, verified.read) {
        (0, _) => format!("{size} read"),
        (_, 0) => format!("{size} that the kernel lets nobody change"),
        (enforced, read) => {
            format!("{size}: {} that the kernel lets nobody change, {} read", files(enforced), files(read))
        }
    }
}

fn files(many: u64) -> String {
    if many == 1 { "1 file".to_owned() } else { format!("{many} files") }
}
