//! Random stores, catalogs and policies; decided and carried out until nothing is due.

use super::*;

/// A sequence that is the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const COMPONENTS: [&str; 2] = ["x", "y"];
const VERSIONS: [&str; 7] = ["1.0", "1.0 (a)", "1.0 (b)", "1.1", "1.1 (a)", "1.1 (b)", "1.2"];

fn random_item(random: &mut Random, component: &str) -> Item {
    let from = random.below(4);
    let to = from + 1 + random.below(VERSIONS.len() - from - 1);
    let mut item = item(component, VERSIONS[from], VERSIONS[to]);
    item.epoch = if random.one_in(4) { 1 } else { 0 };
    if random.one_in(2) {
        let minimum = random.one_in(2).then(|| random.of(&VERSIONS[..=from]).parse().unwrap());
        item.full = Some(Full { blob: blob("full"), minimum });
        item.patch = item.patch.filter(|_| random.one_in(2));
    }
    if random.one_in(5) {
        item.products = vec![random.of(&["router", "phone"]).to_owned()];
    }
    item
}

fn random_release(random: &mut Random, n: usize) -> Release {
    let mut items = Vec::new();
    for component in COMPONENTS {
        for _ in 0..random.below(3) {
            items.push(random_item(random, component));
        }
    }
    let why = || "so".to_owned();
    Release {
        standing: match random.below(6) {
            0 => Standing::Paused { reason: why() },
            1 => Standing::Withdrawn { reason: why() },
            _ => Standing::Active,
        },
        waves: match random.below(4) {
            0 => vec![Wave { at: NOW, percent: 50 }, Wave { at: NOW + 1_000, percent: 100 }],
            _ => vec![],
        },
        channel: random.of(&["stable", "stable", "stable", "beta"]).to_owned(),
        severity: if random.one_in(2) { Severity::Low } else { Severity::Critical },
        published: NOW - random.below(100) as u64,
        ..release(&format!("r{n}"), items)
    }
}

/// A policy whose `automatic-install` the administrator may have locked.
fn random_policy(random: &mut Random, dir: &Path) -> Policy {
    let when = [RestartWhen::Now, RestartWhen::Window, RestartWhen::Boot, RestartWhen::Ask][random.below(4)];
    let admin = ["", "", "automatic-install = false\n", "automatic-install = true\n"][random.below(4)];
    std::fs::write(dir.join("admin.toml"), admin).unwrap();
    let mut policy = Policy::load(dir, dir).unwrap();
    policy.values.restart = when;
    policy.values.product = random.one_in(2).then(|| "router".to_owned());
    if !policy.is_locked("automatic-install") {
        policy.values.automatic_install = !random.one_in(4);
    }
    policy
}

struct World {
    policy: Policy,
    catalog: Catalog,
    situation: Situation,
    memory: Memory,
    state: State,
}

impl World {
    fn new(random: &mut Random, dir: &Path) -> Self {
        let releases = (0..2 + random.below(6)).map(|n| random_release(random, n)).collect();
        let bases = COMPONENTS.map(|name| (name, random.of(&VERSIONS[..3])));
        let mut memory = Memory::default();
        if random.one_in(4) {
            let removed = Removed { version: random.of(&VERSIONS).to_owned(), at: NOW };
            memory.removed.insert("x".to_owned(), removed);
        }
        if random.one_in(4) {
            memory.asked.insert(format!("r{}", random.below(3)));
        }
        let device = format!("d{}", random.below(1000)).parse().unwrap();
        let situation = Situation { device, offset: random.below(1440) as i32, ..situation() };
        let policy = random_policy(random, dir);
        Self { policy, catalog: catalog(releases), situation, memory, state: state(&bases) }
    }

    fn decide(&self) -> Decisions<'_> {
        let Self { policy, catalog, situation, memory, state } = self;
        let first = decide(policy, state, catalog, situation, memory);
        assert_eq!(first, decide(policy, state, catalog, situation, memory), "deciding twice");
        first
    }

    /// What must be true of any decisions.
    fn check(&self, decisions: &Decisions<'_>) {
        let mut taken = BTreeSet::new();
        for decision in decisions.all.iter().filter(|decision| decision.act.is_some()) {
            let release = decision.release;
            assert_eq!(release.standing, Standing::Active);
            assert_eq!(release.channel, "stable");
            let asked = self.memory.asked.contains(&release.id);
            assert!(asked || self.policy.values.automatic_install, "off, and not asked for");
            assert!(asked || release.reaches(&self.situation.device, NOW).is_ok());
            assert!(!decision.changes.is_empty());
            for change in &decision.changes {
                let (name, target) = (&change.item.component, &change.item.target);
                let held = self.state.get(name).unwrap();
                assert!(taken.insert(name.clone()), "two items for {name}");
                assert!(held.denial(&target.digest).is_none(), "denied");
                assert!(
                    target.version > change.from && change.item.epoch >= held.floor && held.trial.is_none()
                );
                let unwanted = self.memory.unwanted(name).is_some_and(|version| target.version <= version);
                assert!(asked || !unwanted, "removed by hand");
                assert!(change.item.products.is_empty() || self.policy.values.product.is_some());
            }
        }
        for decision in &decisions.all {
            assert!(!decision.reason.is_empty());
            let offered =
                matches!(decision.verdict, Verdict::Available | Verdict::Installing | Verdict::Staged);
            assert!(decision.act.is_none() || offered, "{decision:?}");
            assert!(!decision.can_install || offered, "{decision:?}");
        }
    }

    /// Does the first of what is due, and says whether there was anything.
    fn go_on(&mut self, random: &mut Random) -> bool {
        let decisions = self.decide();
        self.check(&decisions);
        if let Some(leave) = decisions.leave.first() {
            let (set, reason) = (vec![leave.component.clone()], leave.reason.clone());
            let left = then(&self.state, &Event::Rollback { set, reason });
            self.state = left;
            return true;
        }
        let Some(decision) = decisions.due().first().copied().cloned() else { return false };
        let terms = TrialTerms { tries: 3, deadline: None };
        let trial = (!random.one_in(3)).then_some(terms);
        let mut state = carry_out(self.state.clone(), &decision, trial);
        // The very next decision knows that it was done.
        let next = decide(&self.policy, &state, &self.catalog, &self.situation, &self.memory);
        let same = next.of(&decision.release.id).unwrap();
        match decision.act.unwrap() {
            Act::Switch { .. } => assert_eq!(same.verdict, Verdict::Installed, "{same:?}"),
            // What was staged may have taken the place of what another release started from, which then goes
            // another way, and further.
            Act::Stage if same.code == Code::Superseded => {}
            Act::Stage => assert_eq!((same.verdict, same.act), (Verdict::Staged, None), "{same:?}"),
        }
        let set: Vec<Component> =
            decision.changes.iter().map(|change| change.item.component.clone()).collect();
        if matches!(decision.act, Some(Act::Switch { .. })) && trial.is_some() {
            let event = match random.one_in(3) {
                true => Event::HealthFailed { set, reason: "bad".to_owned() },
                false => Event::Confirm { set },
            };
            state = then(&state, &event);
        }
        self.state = state;
        true
    }
}

#[test]
fn whatever_the_device_holds_and_is_offered_it_comes_to_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut done, mut rested) = (0, 0);
    for seed in 0..3_000 {
        let random = &mut Random(seed);
        let mut world = World::new(random, dir.path());
        let mut rounds = 0;
        while world.go_on(random) {
            rounds += 1;
            assert!(rounds < 60, "seed {seed} goes round in circles");
        }
        done += rounds;
        rested += usize::from(rounds > 0);
    }
    assert!(done > 1_000 && rested > 800, "the worlds are too quiet: {done} steps in {rested}");
}
