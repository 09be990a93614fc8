use super::super::verb::{Begun, Verb, explain};
use super::super::world::{Line, World};

/// Lines of a log, as `SEQUENCE EVENT FROM TO SLOT REASON`, `-` for what is not there.
fn lines(text: &str) -> Vec<Line> {
    lines_of("app", text)
}

fn lines_of(component: &str, text: &str) -> Vec<Line> {
    let line = |(at, line): (usize, &str)| {
        let words: Vec<&str> = line.split('|').map(str::trim).collect();
        let sequence = words[0].parse::<u64>().unwrap();
        let mut value = serde_json::json!({ "at": at, "component": component, "sequence": sequence });
        for (name, word) in ["event", "from", "to", "slot", "reason"].iter().zip(&words[1..]) {
            if *word != "-" {
                value[name] = (*word).into();
            }
        }
        Line::parse(&value.to_string()).unwrap()
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate().map(line).collect()
}

fn world(text: &str) -> World {
    world_of("app", text)
}

fn world_of(component: &str, text: &str) -> World {
    let mut world = World::default();
    lines_of(component, text).iter().for_each(|line| world.apply(line).unwrap());
    world
}

fn begun(verb: Verb, acknowledged: bool) -> Begun {
    Begun { acknowledged, ..Begun::new(verb, "base") }
}

const ON_TRIAL: &str = "
    1 | init   | - | 1     | base
    2 | stage  | 1 | 1 (a) | a
    3 | seal   | - | 1 (a) | a
    4 | switch | 1 | 1 (a) | a | on trial: 2 tries";

#[test]
fn a_verb_that_was_cut_may_have_happened_or_not() {
    let (on_trial, confirm) = (world(ON_TRIAL), [begun(Verb::Confirm, false)]);
    assert_eq!(explain(&on_trial, &confirm, &[]), Ok(on_trial.clone()));
    let confirmed = explain(&on_trial, &confirm, &lines("5 | confirm | 1 (a) | - | a")).unwrap();
    assert_eq!(confirmed.0["app"].trial, None);
}

#[test]
fn an_acknowledged_verb_without_its_line_is_found() {
    let why = explain(&world(ON_TRIAL), &[begun(Verb::Confirm, true)], &[]).unwrap_err();
    assert!(why.contains("the log has no confirm of app"), "{why}");
}

#[test]
fn the_root_file_system_is_confirmed_exactly_when_it_runs() {
    let on_trial = world_of("rootfs", ON_TRIAL);
    let confirm = |started: &str| [Begun { acknowledged: true, ..Begun::new(Verb::Confirm, started) }];
    let line = lines_of("rootfs", "5 | confirm | 1 (a) | - | a");
    assert_eq!(explain(&on_trial, &confirm("a"), &line).unwrap().0["rootfs"].trial, None);
    let why = explain(&on_trial, &confirm("a"), &[]).unwrap_err();
    assert!(why.contains("the log has no confirm of rootfs"), "{why}");
    assert_eq!(explain(&on_trial, &confirm("base"), &[]), Ok(on_trial.clone()));
    explain(&on_trial, &confirm("base"), &line).unwrap_err();
}

#[test]
fn a_line_told_twice_is_found() {
    let twice = lines("5 | confirm | 1 (a) | - | a\n5 | confirm | 1 (a) | - | a");
    explain(&world(ON_TRIAL), &[begun(Verb::Confirm, true)], &twice).unwrap_err();
}

#[test]
fn two_boots_that_were_cut_spend_what_the_log_says_and_no_more() {
    let boots = [begun(Verb::Boot, false), begun(Verb::Boot, true)];
    let one = lines("5 | try | 1 (a) | - | a | 1 left after this one");
    assert_eq!(explain(&world(ON_TRIAL), &boots, &one).unwrap().0["app"].trial, Some(1));
    let both = lines(
        "5 | try | 1 (a) | - | a | 1 left after this one\n6 | try | 1 (a) | - | a | 0 left after this one",
    );
    assert_eq!(explain(&world(ON_TRIAL), &boots, &both).unwrap().0["app"].trial, Some(0));
    explain(&world(ON_TRIAL), &boots, &[]).unwrap_err();
}

#[test]
fn a_trial_that_outlives_its_tries_is_found() {
    let mut spent = world(ON_TRIAL);
    for line in lines("5 | try | 1 (a) | - | a | 1 left\n6 | try | 1 (a) | - | a | 0 left") {
        spent.apply(&line).unwrap();
    }
    spent.clone().apply(&lines("7 | try | 1 (a) | - | a | 0 left")[0]).unwrap_err();
    explain(&spent, &[begun(Verb::Boot, true)], &[]).unwrap_err();
    let back = lines("7 | fall-back | 1 (a) | 1 | base | 2 tries were used up");
    assert_eq!(explain(&spent, &[begun(Verb::Boot, true)], &back).unwrap().0["app"].active, "base");
}

#[test]
fn another_version_than_was_asked_for_is_found() {
    let (component, version) = ("app".to_owned(), "1 (b)".to_owned());
    let install = Verb::Install { component, version, patch: String::new(), tries: None };
    let base = world("1 | init | - | 1 | base");
    let right = lines("2 | stage | 1 | 1 (b) | a\n3 | seal | - | 1 (b) | a");
    explain(&base, &[begun(install.clone(), true)], &right).unwrap();
    let wrong = lines("2 | stage | 1 | 1 (a) | a\n3 | seal | - | 1 (a) | a");
    explain(&base, &[begun(install, true)], &wrong).unwrap_err();
}
