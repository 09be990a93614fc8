//! Publishing into a folder, and reading it back as any client of TUF does.

mod common;

use common::{Failing, Lab, NOW, files_below};
use siding_image::{Identity, Kind};
use siding_patch::{Limits, Trust};
use siding_repo::make::{self, Error, Files, JobKind, Keys, Plan, Role, RoleSetting, Rotation, Span};
use siding_repo::{Release, Standing};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

#[test]
fn two_bases_of_two_components_are_published_and_read_back() {
    let lab = Lab::new();
    let plan = lab.plan();
    // Each base of the library has a patch and a way back, and they share a whole image; the tree's have a patch.
    let kinds: Vec<JobKind> = plan.jobs().iter().map(|job| job.kind).collect();
    use JobKind::{Full, Patch, Reverse};
    assert_eq!(kinds, [Patch, Full, Reverse, Patch, Reverse, Patch, Patch]);
    lab.make(&plan, 1);
    let done = lab.commit(&plan).unwrap();
    assert!(done.changed && !done.was_there);
    assert_eq!(done.signed.0, 7);

    let (repository, release) = lab.load("2026-11-openssl");
    assert_eq!(release, done.release);
    assert_eq!(release.items.len(), 4);
    assert_eq!(release.waves.iter().map(|wave| wave.at - NOW).collect::<Vec<_>>(), [0, 86_400, 3 * 86_400]);
    let trust = Trust::new(vec![lab.patch_key().public()], 1).unwrap();
    for item in &release.items {
        for blob in item.blobs() {
            let bytes = common::read(&repository, &blob.name);
            let mut patch = siding_patch::open(bytes.as_slice(), &trust, &Limits::default()).unwrap();
            while patch.next_chunk().unwrap().is_some() {}
            assert_eq!(patch.manifest().products, item.products);
        }
        let blob = |name: &siding_repo::Blob| common::read(&repository, &name.name);
        let manifest = |name| common::manifest(&blob(name));
        assert_eq!(manifest(item.patch.as_ref().unwrap()).source.identity, item.source.identity());
        assert_eq!(manifest(item.patch.as_ref().unwrap()).target.identity, item.target.identity());
        if let (Some(full), Some(reverse)) = (&item.full, &item.reverse) {
            assert_eq!(manifest(&full.blob).source.identity, Identity::nothing(Kind::File));
            assert_eq!(manifest(&full.blob).target.identity, item.target.identity());
            assert_eq!(manifest(reverse).target.identity, item.source.identity());
            assert_eq!(manifest(reverse).advisories, []);
        }
    }
}

#[test]
fn however_many_make_it_and_in_whatever_order_the_bytes_are_the_same() {
    let lab = Lab::new();
    let plan = lab.plan();
    let mut results = BTreeSet::new();
    for count in [1, 2, 3, 9] {
        let other = lab.other_repository();
        let order: Vec<usize> = (0..count).rev().collect();
        let mut seen = 0;
        for index in order {
            for job in plan.share(index, count).unwrap().into_iter().rev() {
                assert!(!make::make(&plan, &other.files, job).unwrap().was_there);
                seen += 1;
            }
        }
        assert_eq!(seen, plan.jobs().len());
        assert!(plan.jobs().iter().all(|job| make::make(&plan, &other.files, job).unwrap().was_there));
        results.insert(files_below(&other.path));
    }
    assert_eq!(results.len(), 1);
}

#[test]
fn every_job_is_in_exactly_one_share() {
    let lab = Lab::new();
    let plan = lab.plan();
    for count in 1..=40 {
        let shares = (0..count).flat_map(|index| plan.share(index, count).unwrap());
        let mut names: Vec<String> = shares.map(ToString::to_string).collect();
        let mut all: Vec<String> = plan.jobs().iter().map(ToString::to_string).collect();
        names.sort();
        all.sort();
        assert_eq!(names, all, "{count} shares");
    }
}

#[test]
fn a_commit_that_lacks_a_job_names_it_and_changes_nothing() {
    let lab = Lab::new();
    let plan = lab.plan();
    for job in &plan.jobs()[1..] {
        make::make(&plan, &lab.files, job).unwrap();
    }
    let before = files_below(&lab.path);
    let error = lab.commit(&plan).unwrap_err().to_string();
    assert!(error.contains("1 of 7 jobs") && error.contains(&plan.jobs()[0].to_string()), "{error}");
    assert_eq!(files_below(&lab.path), before);
}

#[test]
fn what_a_worker_made_must_be_what_was_planned() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.make(&plan, 1);
    let planned = plan.look(&lab.files).unwrap();
    let name = |at: usize| lab.path.join(format!("work/{}.siding", planned[at].key));
    let good = fs::read(name(0)).unwrap();
    // Another job's patch, a patch that was cut, and one with a flipped byte at its end.
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [fs::read(name(1)).unwrap(), good[..good.len() - 1].to_vec(), flipped] {
        fs::write(name(0), bad).unwrap();
        let error = lab.commit(&plan).unwrap_err();
        assert!(error.to_string().contains(&planned[0].key.to_string()), "{error}");
        assert_eq!(lab.load_all().len(), 0);
    }
    fs::write(name(0), good).unwrap();
    lab.commit(&plan).unwrap();
}

#[test]
fn a_commit_cut_after_any_write_leaves_the_old_repository_or_the_new() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.make(&plan, 1);
    let before = files_below(&lab.path);
    for cuts in 0.. {
        lab.reset(&before);
        let cut = Failing::after(&lab.files, cuts);
        match make::commit(&plan, &cut, &lab.keys(), &[lab.patch_key()], NOW) {
            Ok(_) => {
                assert_eq!(cuts, 7 + 1 + 3, "blobs, the release, three of metadata");
                break;
            }
            Err(Error::Storage { .. }) => assert_eq!(lab.load_all(), []),
            Err(other) => panic!("{other}"),
        }
        // Run again it ends well, whatever the cut left behind.
        lab.commit(&plan).unwrap();
        assert_eq!(lab.load_all().len(), 1, "after {cuts} writes");
    }
    let first = lab.load_all();
    assert_eq!(first.len(), 1);
    // And a change of it.
    let published = files_below(&lab.path);
    for cuts in 0.. {
        lab.reset(&published);
        let cut = Failing::after(&lab.files, cuts);
        let pause = |release: &mut Release| {
            release.standing = Standing::Paused { reason: "looks bad".into() };
            Ok(())
        };
        match make::change(&cut, &lab.keys(), "2026-11-openssl", pause, NOW) {
            Ok((_, changed)) => {
                assert!(changed);
                assert_eq!(cuts, 4, "the release, three of metadata");
                break;
            }
            Err(_) => assert_eq!(lab.load_all(), first),
        }
    }
    assert!(!lab.load_all()[0].standing.is_active());
}

#[test]
fn publishing_again_changes_the_release_or_does_nothing() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.make(&plan, 1);
    lab.commit(&plan).unwrap();
    let before = files_below(&lab.path);
    let again = make::commit(&plan, &lab.files, &lab.keys(), &[lab.patch_key()], NOW + 1000).unwrap();
    assert!(!again.changed && again.was_there);
    assert_eq!(files_below(&lab.path), before);

    // A file that was lost is put back.
    let lost = before.keys().find(|name| name.to_string_lossy().contains(".blobs/")).unwrap();
    fs::remove_file(lab.path.join(lost)).unwrap();
    let again = make::commit(&plan, &lab.files, &lab.keys(), &[lab.patch_key()], NOW + 1000).unwrap();
    assert_eq!((again.changed, again.signed.0), (false, 1));
    assert_eq!(files_below(&lab.path), before);

    // The waves may have been changed by hand meanwhile.
    let mut draft = lab.draft();
    draft.title = "Another title".to_owned();
    draft.waves.clear();
    let changed = Plan::new(&draft, &common::Diff).unwrap();
    fs::remove_dir_all(lab.path.join("work")).unwrap();
    let done = make::commit(&changed, &lab.files, &lab.keys(), &[lab.patch_key()], NOW + 1000).unwrap();
    assert!(done.changed);
    assert_eq!(done.signed.0, 0, "what is published is not signed again");
    let (_, release) = lab.load("2026-11-openssl");
    assert_eq!((release.published, release.title.as_str()), (NOW, "Another title"));
    assert!(!release.waves.is_empty());
    // Another key's signature is another file.
    let other = siding_patch::PrivateKey::from_seed(&[8; 32]);
    let error = make::commit(&changed, &lab.files, &lab.keys(), &[other], NOW).unwrap_err();
    assert!(matches!(error, Error::NotMade { .. }), "{error}");
}

#[test]
fn rotation_keeps_old_clients_working() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.make(&plan, 1);
    lab.commit(&plan).unwrap();
    let old_root = fs::read(lab.path.join("metadata/1.root.json")).unwrap();
    let ids = |role: &str| {
        let newest =
            (1..).map(|n| lab.path.join(format!("metadata/{n}.root.json"))).take_while(|p| p.exists());
        let root: serde_json::Value =
            serde_json::from_slice(&fs::read(newest.last().unwrap()).unwrap()).unwrap();
        let ids = root["signed"]["roles"][role]["keyids"].as_array().unwrap().clone();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (version, role) in (2..).zip([Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets]) {
        let before = ids(&role.to_string());
        let rotation =
            Rotation { make: vec![role], remove: vec![(role, before[0].clone())], ..Rotation::default() };
        // At every write of it both old and new readers are served.
        for cuts in 0.. {
            let cut = Failing::after(&lab.files, cuts);
            let done = make::rotate(&cut, &mut lab.keys(), &rotation, &mut lab.seeds(), NOW);
            assert_eq!(lab.load_with(&old_root).len(), 1, "{role}, cut after {cuts}");
            match done {
                Ok(made) => {
                    assert_eq!(made.get(), version);
                    break;
                }
                Err(Error::Storage { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!ids(&role.to_string()).contains(&before[0]));
    }
    // Who comes with the new root alone is served too, and so is the maker.
    assert_eq!(lab.load_with(&fs::read(lab.path.join("metadata/5.root.json")).unwrap()).len(), 1);
    let done = make::commit(&plan, &lab.files, &lab.keys(), &[lab.patch_key()], NOW).unwrap();
    assert!(!done.changed);
}

#[test]
fn too_few_keys_sign_nothing() {
    let lab = Lab::new();
    let before = files_below(&lab.path);
    // Two of three root keys are needed.
    let one = lab.keys_named(&["root-1", "targets-1", "snapshot-1", "timestamp-1"]);
    let mut keys = Keys::open(&[one]).unwrap();
    let error = make::rotate(&lab.files, &mut keys, &Rotation::default(), &mut lab.seeds(), NOW).unwrap_err();
    assert!(matches!(error, Error::TooFewKeys { role: Role::Root, need: 2, have: 1, .. }), "{error}");
    let plan = lab.plan();
    lab.make(&plan, 1);
    let made = files_below(&lab.path);
    let no_timestamp = Keys::open(&[lab.keys_named(&["targets-1", "snapshot-1"])]).unwrap();
    let error = make::commit(&plan, &lab.files, &no_timestamp, &[lab.patch_key()], NOW).unwrap_err();
    assert!(matches!(error, Error::TooFewKeys { role: Role::Timestamp, .. }), "{error}");
    assert_eq!(files_below(&lab.path), made);
    assert_ne!(made, before);
    for threshold in [0, 4] {
        let rotation = Rotation { threshold: vec![(Role::Root, threshold)], ..Rotation::default() };
        let error = make::rotate(&lab.files, &mut lab.keys(), &rotation, &mut lab.seeds(), NOW).unwrap_err();
        assert!(error.to_string().contains("may be 1 to 3"), "{error}");
    }
}

#[test]
fn what_others_put_into_the_repository_is_not_signed() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.make(&plan, 1);
    // Another maker's whole repository in the place of ours.
    let other = lab.other_repository();
    let settings =
        BTreeMap::from([(Role::Root, RoleSetting { threshold: 1, keys: 1, expires: Span(9_999) })]);
    make::init(&other.files, &other.path.join("keys"), &settings, &mut lab.seeds(), NOW).unwrap();
    fs::remove_dir_all(lab.path.join("metadata")).unwrap();
    fs::rename(other.path.join("metadata"), lab.path.join("metadata")).unwrap();
    let error = lab.commit(&plan).unwrap_err();
    assert!(matches!(error, Error::NotTrusted { .. }), "{error}");
}

#[test]
fn refreshing_moves_the_dates_and_nothing_else() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.make(&plan, 1);
    lab.commit(&plan).unwrap();
    let timestamp_only = Keys::open(&[lab.keys_named(&["timestamp-1"])]).unwrap();
    let day = 86_400;
    let renewed = |done: Vec<(Role, bool, u64)>| {
        done.into_iter().filter(|(_, renewed, _)| *renewed).map(|(role, _, _)| role).collect::<Vec<_>>()
    };
    let done = make::refresh(&lab.files, &timestamp_only, false, NOW + day).unwrap();
    assert_eq!(renewed(done), [Role::Timestamp]);
    // Past half of its month the snapshot is renewed where its key is, and only there.
    let done = make::refresh(&lab.files, &timestamp_only, false, NOW + 20 * day).unwrap();
    assert_eq!(renewed(done), [Role::Timestamp]);
    let done = make::refresh(&lab.files, &lab.keys(), false, NOW + 20 * day).unwrap();
    assert_eq!(renewed(done), [Role::Snapshot, Role::Timestamp]);
    let done = make::refresh(&lab.files, &lab.keys(), true, NOW + 20 * day).unwrap();
    assert_eq!(renewed(done), [Role::Targets, Role::Snapshot, Role::Timestamp]);
    assert_eq!(lab.load_all().len(), 1);
    // Without its key what has expired cannot be served.
    let error = make::refresh(&lab.files, &timestamp_only, false, NOW + 60 * day).unwrap_err();
    assert!(matches!(error, Error::TooFewKeys { role: Role::Snapshot, .. }), "{error}");
}

#[test]
fn somebody_who_publishes_meanwhile_is_not_overwritten() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.make(&plan, 1);
    let meanwhile = common::Meanwhile::new(&lab.files, || {
        make::refresh(&lab.files, &lab.keys(), true, NOW).unwrap();
    });
    let error = make::commit(&plan, &meanwhile, &lab.keys(), &[lab.patch_key()], NOW).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert_eq!(lab.load_all(), []);
    lab.commit(&plan).unwrap();
    assert_eq!(lab.load_all().len(), 1);
    assert!(lab.files.get("metadata/timestamp.json").unwrap().is_some());
}
