//! Named cases, and properties on random stores and catalogs, carried out on the store's own state machine.

use super::*;
use crate::memory::{Failed, Removed};
use crate::policy::{RestartWhen, Values};
use siding_image::{Digest, Identity, Kind};
use siding_patch::Severity;
use siding_repo::{Full, ImageSpec, Standing, Wave};
use siding_slot::{Event, SealedImage, TrialTerms, step};
use std::path::Path;

const NOW: u64 = 1_772_355_900;

fn spec(component: &str, version: &str) -> ImageSpec {
    let digest = Digest::of(format!("{component} {version}").as_bytes());
    ImageSpec::new(version.parse().unwrap(), Identity { kind: Kind::File, size: 1000, digest })
}

fn sealed(component: &str, version: &str) -> SealedImage {
    let spec = spec(component, version);
    let (restart, advisories) = (vec![], vec![]);
    SealedImage {
        identity: spec.identity(),
        version: spec.version,
        epoch: 0,
        restart,
        advisories,
        installed_at: NOW,
    }
}

fn blob(name: &str) -> Blob {
    Blob { name: format!("blobs/{name}.siding"), length: 100, sha256: Digest::of(name.as_bytes()) }
}

fn item(component: &str, from: &str, to: &str) -> Item {
    Item {
        component: component.parse().unwrap(),
        products: vec![],
        source: spec(component, from),
        target: spec(component, to),
        epoch: 0,
        restart: vec![],
        patch: Some(blob("patch")),
        full: None,
        reverse: None,
    }
}

fn release(id: &str, items: Vec<Item>) -> Release {
    Release {
        format: siding_repo::FORMAT,
        id: id.to_owned(),
        title: id.to_owned(),
        text: String::new(),
        severity: Severity::High,
        advisories: vec![],
        channel: "stable".to_owned(),
        published: NOW - 100,
        standing: Standing::Active,
        waves: vec![],
        items,
    }
}

fn state(bases: &[(&str, &str)]) -> State {
    bases.iter().fold(State::default(), |state, (name, version)| {
        then(&state, &Event::Init { component: name.parse().unwrap(), image: sealed(name, version) })
    })
}

fn then(state: &State, event: &Event) -> State {
    step(state, event, NOW).unwrap_or_else(|refusal| panic!("{event:?}: {refusal}")).0
}

fn policy(change: impl FnOnce(&mut Values)) -> Policy {
    let mut policy = Policy::load(Path::new("/nowhere/at/all"), Path::new("/nowhere/at/all")).unwrap();
    change(&mut policy.values);
    policy
}

fn situation() -> Situation {
    let device = "device".parse().unwrap();
    Situation { now: NOW, offset: 0, device, battery: None, mains: true, free: None, boot: "one".to_owned() }
}

fn catalog(releases: Vec<Release>) -> Catalog {
    Catalog { releases, version: 1, expires: u64::MAX }
}

/// Stages, seals and switches as the agent does.
fn carry_out(mut state: State, decision: &Decision<'_>, trial: Option<TrialTerms>) -> State {
    let Some(act) = decision.act else { return state };
    let mut to = Vec::new();
    for change in &decision.changes {
        let component = change.item.component.clone();
        let image = SealedImage { epoch: change.item.epoch, ..sealed("", "0") };
        let target = &change.item.target;
        let image = SealedImage { identity: target.identity(), version: target.version.clone(), ..image };
        if let Way::Ready(slot) = change.way {
            to.push((component, slot));
            continue;
        }
        let source = matches!(change.way, Way::Patch(_)).then(|| change.item.source.identity());
        let slot = state.get(&component).unwrap().staging_slot(source.as_ref()).expect("a slot");
        state = then(
            &state,
            &Event::BeginStage { component: component.clone(), image: image.clone(), source, avoid: vec![] },
        );
        state = then(&state, &Event::Seal { component: component.clone(), slot, image });
        to.push((component, slot));
    }
    match act {
        Act::Stage => state,
        Act::Switch { .. } => then(&state, &Event::Switch { to, trial }),
    }
}

/// What one release comes to.
fn one(
    release: &Release,
    state: &State,
    policy: &Policy,
    situation: &Situation,
    memory: &Memory,
) -> (Verdict, Code, bool) {
    let catalog = catalog(vec![release.clone()]);
    let decisions = decide(policy, state, &catalog, situation, memory);
    let decision = &decisions.all[0];
    assert!(!decision.reason.is_empty() && !decision.reason.contains('\n'), "{decision:?}");
    (decision.verdict, decision.code, decision.act.is_some())
}

#[test]
fn each_obstacle_has_its_code() {
    use Verdict::{Available, Blocked, Installing, NotForThis};
    let (state, fix) = (state(&[("x", "1.0")]), release("r", vec![item("x", "1.0", "1.0 (a)")]));
    let (plain, here, nothing) = (policy(|_| {}), situation(), Memory::default());
    let of = |release: &Release, policy: &Policy, here: &Situation, memory: &Memory| {
        one(release, &state, policy, here, memory)
    };
    assert_eq!(of(&fix, &plain, &here, &nothing), (Installing, Code::Installing, true));

    let off = policy(|values| values.automatic_install = false);
    assert_eq!(of(&fix, &off, &here, &nothing), (Available, Code::Off, false));
    let asked = Memory { asked: ["r".to_owned()].into(), ..Memory::default() };
    assert_eq!(of(&fix, &off, &here, &asked), (Installing, Code::Installing, true));
    let low = Situation { battery: Some(9), mains: false, ..here.clone() };
    assert_eq!(of(&fix, &plain, &low, &nothing), (Blocked, Code::BatteryLow, false));
    assert_eq!(of(&fix, &plain, &low, &asked), (Blocked, Code::BatteryLow, false));
    let charged = Situation { battery: Some(9), mains: true, ..here.clone() };
    assert_eq!(of(&fix, &plain, &charged, &nothing).1, Code::Installing);

    let later = Release { waves: vec![Wave { at: NOW + 60, percent: 100 }], ..fix.clone() };
    assert_eq!(of(&later, &plain, &here, &nothing), (Installing, Code::WaveNotReached, false));
    assert!(of(&later, &plain, &Situation { now: NOW + 60, ..here.clone() }, &nothing).2);
    let never = Release { waves: vec![Wave { at: NOW, percent: 0 }], ..fix.clone() };
    assert_eq!(of(&never, &plain, &here, &nothing), (Available, Code::WaveNotReached, false));
    let reason = || "it breaks things".to_owned();
    let paused = Release { standing: Standing::Paused { reason: reason() }, ..fix.clone() };
    assert_eq!(of(&paused, &plain, &here, &asked), (Blocked, Code::Paused, false));
    let withdrawn = Release { standing: Standing::Withdrawn { reason: reason() }, ..fix.clone() };
    assert_eq!(of(&withdrawn, &plain, &here, &asked), (Blocked, Code::Withdrawn, false));
    let beta = Release { channel: "beta".to_owned(), ..fix.clone() };
    assert_eq!(of(&beta, &plain, &here, &nothing), (NotForThis, Code::WrongChannel, false));
    let router =
        release("r", vec![Item { products: vec!["router".to_owned()], ..item("x", "1.0", "1.0 (a)") }]);
    assert_eq!(of(&router, &plain, &here, &nothing), (NotForThis, Code::WrongProduct, false));
    assert_eq!(
        of(&router, &policy(|v| v.product = Some("router".to_owned())), &here, &nothing).1,
        Code::Installing
    );
    assert_eq!(of(&release("r", vec![item("y", "1", "2")]), &plain, &here, &nothing).1, Code::NoComponent);

    assert_eq!(
        of(&release("r", vec![item("x", "1.1", "1.2")]), &plain, &here, &nothing),
        (Blocked, Code::BaseTooOld, false)
    );
    assert_eq!(
        of(&release("r", vec![item("x", "0.8", "0.9")]), &plain, &here, &nothing),
        (NotForThis, Code::Superseded, false)
    );
    let other = Item {
        source: ImageSpec { digest: Digest::of(b"other"), ..spec("x", "1.0") },
        ..item("x", "1.0", "1.0 (a)")
    };
    assert_eq!(
        of(&release("r", vec![other.clone()]), &plain, &here, &nothing),
        (Blocked, Code::BaseUnknown, false)
    );
    // Then the whole image, if there is one and room for it.
    let full = Item { full: Some(Full { blob: blob("full"), minimum: None }), ..other };
    let whole = release("r", vec![full]);
    assert_eq!(of(&whole, &plain, &here, &nothing), (Installing, Code::Installing, true));
    assert_eq!(
        of(&whole, &plain, &Situation { free: Some(999), ..here.clone() }, &nothing),
        (Blocked, Code::NoSpace, false)
    );

    let removed = Removed { version: "1.0 (a)".to_owned(), at: NOW };
    let by_hand = Memory { removed: [("x".to_owned(), removed)].into(), ..Memory::default() };
    assert_eq!(of(&fix, &plain, &here, &by_hand), (Available, Code::RemovedByHand, false));
    assert!(of(&release("r", vec![item("x", "1.0", "1.0 (b)")]), &plain, &here, &by_hand).2);
    let failed = |again, needs| {
        let (code, message, mark) = ("failed".to_owned(), "it broke off".to_owned(), judge::mark(&fix));
        let failed = Failed { code, message, at: NOW, count: 1, again, needs, mark };
        Memory { failed: [("r".to_owned(), failed)].into(), ..Memory::default() }
    };
    assert_eq!(of(&fix, &plain, &here, &failed(Some(NOW + 9), None)), (Installing, Code::Failed, false));
    assert!(of(&fix, &plain, &here, &failed(Some(NOW), None)).2);
    assert_eq!(of(&fix, &plain, &here, &failed(None, None)), (Blocked, Code::NeedsNewerSiding, false));
    let full_disk = Situation { free: Some(10), ..here.clone() };
    assert_eq!(of(&fix, &plain, &full_disk, &failed(Some(NOW), Some(11))), (Blocked, Code::NoSpace, false));
    // Another release under the same name is tried anew.
    assert!(of(&Release { title: "again".to_owned(), ..fix.clone() }, &plain, &here, &failed(None, None)).2);
    let old = Catalog { expires: NOW, ..catalog(vec![fix.clone()]) };
    assert_eq!(decide(&plain, &state, &old, &here, &nothing).all[0].code, Code::ExpiredMetadata);
}

#[test]
fn what_lies_ready_waits_for_its_restart() {
    let (bare, fix) = (state(&[("x", "1.0")]), release("r", vec![item("x", "1.0", "1.0 (a)")]));
    let (catalog, memory) = (catalog(vec![fix.clone()]), Memory::default());
    // 09:05 UTC.
    let night = policy(|values| values.restart = RestartWhen::Window);
    let decisions = decide(&night, &bare, &catalog, &situation(), &memory);
    assert_eq!(decisions.all[0].act, Some(Act::Stage));
    let staged = carry_out(bare.clone(), &decisions.all[0], None);
    let waits = decide(&night, &staged, &catalog, &situation(), &memory);
    assert_eq!((waits.all[0].verdict, waits.all[0].code), (Verdict::Staged, Code::OutsideWindow));
    assert_eq!((waits.all[0].act, waits.all[0].when), (None, Some(NOW / 86_400 * 86_400 + 26 * 3_600)));
    let open = Situation { offset: -7 * 60, ..situation() };
    assert_eq!(
        decide(&night, &staged, &catalog, &open, &memory).all[0].act,
        Some(Act::Switch { restart: true })
    );
    let ask = policy(|values| values.restart = RestartWhen::Ask);
    assert_eq!(one(&fix, &staged, &ask, &situation(), &memory), (Verdict::Staged, Code::Staged, false));
    let now = Memory { restart_asked: true, ..Memory::default() };
    assert!(one(&fix, &staged, &ask, &situation(), &now).2);
    let boot = policy(|values| values.restart = RestartWhen::Boot);
    assert_eq!(
        decide(&boot, &staged, &catalog, &situation(), &memory).all[0].act,
        Some(Act::Switch { restart: false })
    );
}

#[test]
fn the_newest_replaces_what_is_on_its_way_and_only_then() {
    let state = state(&[("x", "1.0"), ("y", "1.0")]);
    let (a, b) =
        (release("a", vec![item("x", "1.0", "1.0 (a)")]), release("b", vec![item("x", "1.0", "1.0 (b)")]));
    let codes = |releases: Vec<Release>| -> Vec<(String, Code)> {
        let catalog = catalog(releases);
        let decisions = decide(&policy(|_| {}), &state, &catalog, &situation(), &Memory::default());
        decisions.all.iter().rev().map(|one| (one.release.id.clone(), one.code)).collect()
    };
    let named = |id: &str, code| (id.to_owned(), code);
    assert_eq!(
        codes(vec![a.clone(), b.clone()]),
        [named("a", Code::Superseded), named("b", Code::Installing)]
    );
    let later = Release { waves: vec![Wave { at: NOW + 1, percent: 100 }], ..b.clone() };
    assert_eq!(
        codes(vec![a.clone(), later]),
        [named("a", Code::Installing), named("b", Code::WaveNotReached)]
    );
    // Both components or neither.
    let two = release("c", vec![item("x", "1.0", "1.0 (c)"), item("y", "0.9", "1.0 (c)")]);
    assert_eq!(codes(vec![a, two]), [named("a", Code::Installing), named("c", Code::BaseUnknown)]);
}

#[test]
fn what_was_rolled_back_is_not_offered_again_and_what_was_withdrawn_is_left() {
    let bare = state(&[("x", "1.0")]);
    let fix = release("r", vec![item("x", "1.0", "1.0 (a)")]);
    let first = catalog(vec![fix.clone()]);
    let terms = TrialTerms { tries: 3, deadline: None };
    let decisions = decide(&policy(|_| {}), &bare, &first, &situation(), &Memory::default());
    let tried = carry_out(bare, &decisions.all[0], Some(terms));
    let set = vec!["x".parse().unwrap()];
    let bad = then(&tried, &Event::HealthFailed { set: set.clone(), reason: "it crashed".to_owned() });
    let asked = Memory { asked: ["r".to_owned()].into(), ..Memory::default() };
    assert_eq!(
        one(&fix, &bad, &policy(|_| {}), &situation(), &asked),
        (Verdict::Blocked, Code::Denied, false)
    );
    // Another one for the same component, while that is on trial.
    let next = release("s", vec![item("x", "1.0", "1.0 (b)")]);
    assert_eq!(
        one(&next, &tried, &policy(|_| {}), &situation(), &asked),
        (Verdict::Blocked, Code::OnTrial, false)
    );

    let withdrawn =
        Release { standing: Standing::Withdrawn { reason: "it is bad".to_owned() }, ..fix.clone() };
    let second = catalog(vec![withdrawn.clone()]);
    let decisions = decide(&policy(|_| {}), &tried, &second, &situation(), &Memory::default());
    assert_eq!(decisions.leave.len(), 1);
    assert!(decisions.leave[0].reason.contains("it is bad"));
    // Not if another release stands by the same image.
    let both = catalog(vec![withdrawn, Release { id: "t".to_owned(), ..fix }]);
    assert!(decide(&policy(|_| {}), &tried, &both, &situation(), &Memory::default()).leave.is_empty());
}

mod random;
