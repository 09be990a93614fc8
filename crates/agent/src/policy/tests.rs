use super::*;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn etc(&self, name: &str, text: &str) {
        write(&self.0.path().join("etc").join(name), text);
    }

    fn load(&self) -> Result<Policy, PolicyError> {
        Policy::load(&self.0.path().join("etc"), &self.0.path().join("store"))
    }

    fn from(&self, name: &str) -> (String, String, bool) {
        let setting =
            self.load().unwrap().settings().into_iter().find(|setting| setting.name == name).unwrap();
        let file = setting.from.rsplit('/').next().unwrap().to_owned();
        (setting.value, file, setting.locked)
    }
}

#[test]
fn without_files_the_defaults_hold_and_the_example_says_the_same() {
    let lab = Lab::new();
    let defaults = lab.load().unwrap();
    assert_eq!(defaults.values, Values::default());
    // The documented example has every setting, each at its default, commented out or not.
    let example = include_str!("../../../../contrib/agent/agent.toml");
    for setting in defaults.settings() {
        let line = example
            .lines()
            .find(|line| line.trim_start_matches("# ").starts_with(&format!("{} = ", setting.name)));
        assert!(line.is_some(), "the example lacks {}", setting.name);
    }
    lab.etc("agent.toml", example);
    assert_eq!(lab.load().unwrap().values.restart, Values::default().restart);
}

#[test]
fn admin_beats_set_beats_drop_ins_beats_the_file_beats_defaults() {
    let lab = Lab::new();
    assert_eq!(lab.from("check-every"), ("6h".into(), "default".into(), false));
    lab.etc("agent.toml", "check-every = \"1h\"\nautomatic-install = true\n");
    assert_eq!(lab.from("check-every"), ("1h".into(), "agent.toml".into(), false));
    lab.etc("agent.d/20-b.toml", "check-every = \"3h\"\n");
    lab.etc("agent.d/10-a.toml", "check-every = \"2h\"\n");
    assert_eq!(lab.from("check-every"), ("3h".into(), "20-b.toml".into(), false));
    lab.load().unwrap().set("check-every", "30m").unwrap();
    assert_eq!(lab.from("check-every"), ("30m".into(), "settings.toml".into(), false));
    lab.etc("admin.toml", "check-every = \"5h\"\n");
    assert_eq!(lab.from("check-every"), ("5h".into(), "admin.toml".into(), true));
    let refused = lab.load().unwrap().set("check-every", "30m").unwrap_err();
    assert!(
        matches!(refused, PolicyError::Locked { .. }) && refused.to_string().contains("admin.toml"),
        "{refused}"
    );
}

#[test]
fn who_forbids_a_removal_is_named() {
    let (lab, libssl) = (Lab::new(), "libssl".parse().unwrap());
    let refused = |lab: &Lab| lab.load().unwrap().may_remove(&libssl).unwrap_err().to_string();
    lab.load().unwrap().set("removal", "forbidden").unwrap();
    let by_hand = refused(&lab);
    assert!(
        by_hand.contains("settings.toml says so") && by_hand.contains("`siding set removal allowed`"),
        "{by_hand}"
    );
    lab.etc("admin.toml", "removal = \"forbidden\"\n");
    let locked = refused(&lab);
    assert!(locked.contains("the administrator says so in") && locked.contains("admin.toml"), "{locked}");
}

#[test]
fn what_is_set_can_be_taken_back_and_says_what_is_wrong() {
    let lab = Lab::new();
    let mut policy = lab.load().unwrap();
    policy.set("automatic-install", "off").unwrap();
    policy.set("restart", "ask").unwrap();
    assert!(!policy.values.automatic_install && policy.values.restart == RestartWhen::Ask);
    policy.set("automatic-install", "").unwrap();
    assert!(policy.values.automatic_install && policy.values.restart == RestartWhen::Ask);
    for (name, value) in [
        ("automatic-instal", "off"),
        ("automatic-install", "maybe"),
        ("mirrors", "https://else.where"),
        ("hook", "/bin/sh"),
        ("trust", "/tmp"),
        ("minimum-battery", "101"),
        ("window", "2-5"),
        ("window", "02:00-02:00"),
        ("check-every", "1s"),
        ("rate", "fast"),
        ("channel", "../x"),
    ] {
        assert!(policy.set(name, value).is_err(), "{name} = {value}");
    }
    assert_eq!(policy, lab.load().unwrap());
}

#[test]
fn a_mistake_names_its_file_and_line() {
    let lab = Lab::new();
    for (text, line, what) in [
        ("\n# so\nautomatic-instal = true\n", 3, "there is no setting"),
        ("rate = \"2M\"\nrestart = \"never\"\n", 2, "now, window, boot, ask was expected"),
        ("rate = \"2M\"\nrate = \"3M\"\n", 2, "duplicate key"),
        ("[agent]\nrate = 1\n", 1, "a text, a whole number"),
        ("minimum-battery = 1.5\n", 1, "whole number"),
        ("page = \"0.0.0.0:80\"\n", 1, "127.0.0.1"),
        ("threshold = 0\n", 1, "from 1 to 64"),
    ] {
        lab.etc("agent.toml", text);
        let error = lab.load().unwrap_err();
        let PolicyError::File { line: got, .. } = &error else { panic!("{error}") };
        assert_eq!(*got, line, "{error}");
        assert!(error.to_string().contains(what) && error.to_string().contains("agent.toml"), "{error}");
    }
}

#[test]
fn a_window_may_go_past_midnight_and_follows_local_time() {
    let (night, late): (Window, Window) = ("02:00-05:00".parse().unwrap(), "23:00-01:30".parse().unwrap());
    let at = |hour: u64, minute: u64| 20_000 * 86_400 + hour * 3_600 + minute * 60 + 7;
    assert!(!night.is_open(at(1, 59), 0) && night.is_open(at(2, 0), 0) && !night.is_open(at(5, 0), 0));
    assert!(night.is_open(at(0, 0), 120) && night.is_open(at(7, 0), -300));
    assert!(late.is_open(at(0, 0), 0) && late.is_open(at(23, 0), 0) && !late.is_open(at(1, 30), 0));
    for minute in 0..1440 {
        let opens = late.opens(at(0, minute), 0);
        assert!(late.is_open(opens, 0) && opens - at(0, minute).min(opens) <= 86_400);
    }
    assert_eq!(night.to_string(), "02:00-05:00");
}
