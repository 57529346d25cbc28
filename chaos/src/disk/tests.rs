use std::fs;
use std::io::Write;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn put(path: &Path, bytes: &[u8], sync: bool) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    if sync {
        file.sync_all().unwrap();
    }
}

fn free(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bavail * stat.f_frsize
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_cut_keeps_what_was_synced_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    for (index, journal) in [Journal::DEFAULT, Journal { writeback: true, auto_da_alloc: false, commit_seconds: 300 }]
        .into_iter()
        .enumerate()
    {
        let mut disk = PowerDisk::with_journal(&directory.path().join(index.to_string()), 32 << 20, journal).unwrap();
        let file = |name: &str| disk.mount_point().join(name);
        put(&file("synced"), b"kept", true);
        File::open(disk.mount_point()).unwrap().sync_all().unwrap();
        put(&file("unsynced"), b"lost", false);
        let (synced, unsynced, late) = (file("synced"), file("unsynced"), file("late"));
        disk.cut().unwrap();
        assert!(File::create(&late).is_err(), "a disk without power takes nothing");
        disk.remount().unwrap();
        assert_eq!(fs::read(&synced).unwrap(), b"kept");
        assert!(!unsynced.exists());
        put(&late, b"again", true);
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_commit_of_the_journal_can_keep_a_name_without_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal { writeback: true, auto_da_alloc: false, commit_seconds: 300 };
    let mut disk = PowerDisk::with_journal(directory.path(), 32 << 20, journal).unwrap();
    let (staged, named) = (disk.mount_point().join("staged"), disk.mount_point().join("named"));
    put(&staged, b"bytes that nobody synced", false);
    fs::rename(&staged, &named).unwrap();
    disk.commit_journal().unwrap();
    disk.cut().unwrap();
    disk.remount().unwrap();
    assert_eq!(fs::read(&named).unwrap(), b"");
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_disk_takes_itself_away() {
    let directory = tempfile::tempdir().unwrap();
    let disk = PowerDisk::create(directory.path(), 32 << 20).unwrap();
    let (mount_point, image) = (disk.mount_point().to_owned(), directory.path().join("disk.img"));
    assert!(PowerDisk::create(directory.path(), 32 << 20).is_err(), "one disk a directory");
    let held = File::create(mount_point.join("held")).unwrap();
    drop(held);
    drop(disk);
    assert!(!image.exists());
    assert_eq!(fs::read_dir(&mount_point).unwrap().count(), 0);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(mount_point.to_str().unwrap()));
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_small_disk_fills_up_and_has_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = SmallDisk::create(directory.path(), 24 << 20, 4 << 20).unwrap();
    let path = disk.mount_point().join("data");
    let mut file = File::create(&path).unwrap();
    let block = vec![7_u8; 1 << 20];
    let error = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    disk.throw_ballast().unwrap();
    file.write_all(&block).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let before = free(disk.mount_point());
    disk.grow(48 << 20).unwrap();
    assert!(free(disk.mount_point()) > before + (16 << 20));
}

#[test]
fn the_seed_says_how_the_journal_works() {
    let options = |seed| Journal::draw(&mut ChaCha8Rng::seed_from_u64(seed)).options();
    assert_eq!(options(3), options(3));
    let all: std::collections::BTreeSet<String> = (0..64).map(options).collect();
    assert_eq!(all.len(), 8);
}
