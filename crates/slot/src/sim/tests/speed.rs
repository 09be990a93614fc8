//! How fast a machine is cloned and cut. To be looked at:
//! `cargo test -p siding-slot --lib sim::tests::speed -- --ignored --nocapture`.

use super::*;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

#[test]
#[ignore = "measures and asserts nothing"]
fn clones_and_cuts_a_second() {
    let disk = SimDisk::new();
    for dir in ["/s", "/s/components", "/s/components/c"] {
        disk.make_directory(Path::new(dir), 0o755).unwrap();
    }
    let record = write(&disk, "/s/record", &vec![0; 512 << 10]);
    for slot in ["base", "a", "b"] {
        let dir = format!("/s/components/c/{slot}");
        disk.make_directory(Path::new(&dir), 0o700).unwrap();
        (0..20).for_each(|file| drop(write(&disk, &format!("{dir}/{file}"), &vec![file; 10_000])));
    }
    let log = write(&disk, "/s/log", &[b'x'; 3000]);
    record.flush_filesystem().unwrap();
    record.write_at(256 << 10, &[7; 4096]).unwrap();
    log.write_at(3000, &[b'y'; 300]).unwrap();
    let copy = Mutex::new(vec![0; 256 << 10]);
    let mut random = Random::new(1);
    let choices: Vec<Choice> = (0..200).map(|_| Choice::of_bits(random.next())).collect();
    // The best of many rounds, as other work is going on.
    let rate = |what: &str, act: &dyn Fn(&Choice)| {
        let rounds = (0..50).map(|_| {
            let begun = Instant::now();
            choices.iter().for_each(act);
            begun.elapsed()
        });
        let best = rounds.min().unwrap_or_default();
        println!("{what}: {:.2} µs", best.as_secs_f64() * 1e6 / choices.len() as f64);
    };
    println!("{} units pending", disk.pending_len());
    rate("clone", &|_| drop(black_box(disk.clone())));
    rate("cut", &|choice| drop(black_box(disk.cut(choice))));
    rate("clone and cut", &|choice| drop(black_box(disk.clone().cut(choice))));
    rate("cut with nothing chosen", &|_| drop(black_box(disk.cut(&Choice::none()))));
    rate("cut and read a copy of the record", &|choice| {
        let file = disk.cut(choice).open(Path::new("/s/record"), Access::Read).unwrap();
        file.read_at(256 << 10, &mut copy.lock().unwrap()).unwrap();
    });
    rate("cut and scan 65 files", &|choice| {
        drop(black_box(disk.cut(choice).scan(Path::new("/s")).unwrap()));
    });
    let (cut, tree) = (disk.cut(&choices[0]), disk.scan(Path::new("/s")).unwrap());
    rate("scan again", &|_| drop(black_box(cut.scan(Path::new("/s")).unwrap())));
    rate("of that, the tree's own rules", &|_| {
        drop(black_box(siding_image::Tree::new(tree.entries().to_vec())));
    });
    let image = Image::assume(Path::new("/s"), Content::Tree(tree));
    rate("cut and check an image of 65 files", &|choice| {
        let _ = black_box(disk.cut(choice).check(&image));
    });
    rate("cut and fingerprint", &|choice| {
        let _ = black_box(disk.cut(choice).fingerprint());
    });
}
