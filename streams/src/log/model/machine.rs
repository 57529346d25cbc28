//! The simulated disk of one directory: its files and their names. A name is created, changed or removed for
//! good by a sync of its directory; a crash before may leave any of the changes since, and not the others.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::draw::Draw;
use super::file::{File, Left};

/// A change of the disk. Paths are relative to the directory; files have numbers, whatever their names.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create { path: String, file: usize },
    Write { file: usize, at: usize, bytes: Vec<u8> },
    Truncate { file: usize, length: usize },
    Sync { file: usize, failed: bool },
    Rename { from: String, to: String },
    Remove { path: String },
    SyncDir { dir: String, failed: bool },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    files: BTreeMap<usize, File>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Since the last sync of the directory, in order.
    pending: Vec<Naming>,
}

/// A change of one directory.
#[derive(Clone, Debug)]
struct Naming {
    dir: String,
    gone: Option<String>,
    there: Option<String>,
    file: usize,
}

/// Something that a crash decides: how many ways there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dimension {
    what: What,
    pub(super) ways: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Naming(usize),
    Sector(usize, usize),
    Length(usize),
}

/// What a crash left of the directory.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) files: BTreeMap<String, Left>,
}

impl Machine {
    /// A machine on which these files are durable.
    pub(super) fn of(image: &Image) -> Self {
        let mut machine = Self::default();
        for (number, (path, left)) in image.files.iter().enumerate() {
            machine.files.insert(number, File::of(left.bytes().to_vec()));
            machine.names.insert(path.clone(), number);
        }
        machine.durable.clone_from(&machine.names);
        machine
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { path, file } => {
                self.files.insert(*file, File::of(Vec::new()));
                self.names.insert(path.clone(), *file);
                self.name(None, Some(path), *file);
            }
            Change::Write { file, at, bytes } => {
                self.file(*file, |file| file.write(*at, bytes));
            }
            Change::Truncate { file, length } => self.file(*file, |file| file.truncate(*length)),
            Change::Sync { file, failed } => self.file(*file, |file| file.sync(*failed)),
            Change::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                    self.name(Some(from), Some(to), file);
                }
            }
            Change::Remove { path } => {
                if let Some(file) = self.names.remove(path) {
                    self.name(Some(path), None, file);
                }
            }
            Change::SyncDir { failed: true, .. } => {}
            Change::SyncDir { dir, failed: false } => {
                let (done, pending) = std::mem::take(&mut self.pending).into_iter().partition(|one| one.dir == *dir);
                self.pending = pending;
                let done: Vec<Naming> = done;
                done.iter().for_each(|one| one.apply(&mut self.durable));
                self.forget();
            }
        }
    }

    /// Paths of the files as a program sees them, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// A file as a program sees it.
    pub(super) fn read(&self, path: &str) -> Option<&[u8]> {
        Some(self.files.get(self.names.get(path)?)?.cache())
    }

    /// All that a crash at this moment decides.
    pub(super) fn open(&self) -> Vec<Dimension> {
        let namings = (0..self.pending.len()).map(|at| Dimension { what: What::Naming(at), ways: 2 });
        let mut open: Vec<Dimension> = namings.collect();
        for (number, file) in &self.files {
            let sectors = file.open_sectors();
            open.extend(sectors.map(|(at, ways)| Dimension { what: What::Sector(*number, at), ways }));
            if file.open_lengths() > 1 {
                open.push(Dimension { what: What::Length(*number), ways: file.open_lengths() });
            }
        }
        open
    }

    /// What is left if the crash decides `choices`, one of each dimension.
    pub(super) fn left(&self, open: &[Dimension], choices: &[u64]) -> Image {
        let mut names = self.durable.clone();
        let mut sectors: BTreeMap<usize, Vec<(usize, u64)>> = BTreeMap::new();
        let mut lengths: BTreeMap<usize, u64> = BTreeMap::new();
        for (dimension, &choice) in open.iter().zip(choices) {
            match dimension.what {
                What::Naming(at) if choice > 0 => {
                    self.pending.get(at).into_iter().for_each(|naming| naming.apply(&mut names));
                }
                What::Naming(_) => {}
                What::Sector(file, at) => sectors.entry(file).or_default().push((at, choice)),
                What::Length(file) => {
                    lengths.insert(file, choice);
                }
            }
        }
        let left = |number: &usize| {
            let sectors = sectors.get(number).map_or(&[][..], Vec::as_slice);
            Some(self.files.get(number)?.left(sectors, lengths.get(number).copied().unwrap_or(0)))
        };
        Image { files: names.into_iter().filter_map(|(path, number)| Some((path, left(&number)?))).collect() }
    }

    /// Draws choices: mostly of the kinds that crashes leave, now and then anything.
    pub(super) fn draw(open: &[Dimension], draw: &mut Draw) -> Vec<u64> {
        let manner = draw.below(6);
        let cut = draw.size(0, open.len());
        let choose = |(at, dimension): (usize, &Dimension)| {
            let newest = dimension.ways - 1;
            match manner {
                0 if at < cut => newest,
                0 => 0,
                1 if at >= cut => newest,
                1 => 0,
                2 if !draw.one_in(8) => newest,
                3 if !draw.one_in(8) => 0,
                4 if matches!(dimension.what, What::Length(_)) => newest,
                _ => draw.below(dimension.ways),
            }
        };
        open.iter().enumerate().map(choose).collect()
    }

    fn file(&mut self, number: usize, change: impl FnOnce(&mut File)) {
        if let Some(file) = self.files.get_mut(&number) {
            change(file);
        }
    }

    fn name(&mut self, gone: Option<&String>, there: Option<&String>, file: usize) {
        let dir = gone.or(there).map(|path| directory(path).to_owned()).unwrap_or_default();
        self.pending.push(Naming { dir, gone: gone.cloned(), there: there.cloned(), file });
    }

    /// Gives up files that no name leads to any more, whatever a crash decides.
    fn forget(&mut self) {
        let named = |number: &usize| {
            let mut pending = self.pending.iter().map(|naming| &naming.file);
            self.names.values().chain(self.durable.values()).any(|known| known == number)
                || pending.any(|known| known == number)
        };
        let gone: Vec<usize> = self.files.keys().filter(|number| !named(number)).copied().collect();
        for number in gone {
            self.files.remove(&number);
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(gone) = &self.gone
            && names.get(gone) == Some(&self.file)
        {
            names.remove(gone);
        }
        if let Some(there) = &self.there {
            names.insert(there.clone(), self.file);
        }
    }
}

impl Image {
    /// Of names and contents.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, left) in &self.files {
            path.hash(&mut hasher);
            hasher.write_u64(left.hash());
        }
        hasher.finish()
    }
}

/// The directory of a relative path; empty for the top.
pub(super) fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &str, file: usize) -> Change {
        Change::Create { path: path.to_owned(), file }
    }

    fn sync_dir(failed: bool) -> Change {
        Change::SyncDir { dir: "a".to_owned(), failed }
    }

    fn states(machine: &Machine) -> Vec<Vec<String>> {
        let open = machine.open();
        let names = |bits: u64| {
            let choices: Vec<u64> = (0..open.len()).map(|at| bits >> at & 1).collect();
            machine.left(&open, &choices).files.into_keys().collect()
        };
        (0..1 << open.len()).map(names).collect()
    }

    #[test]
    fn names_are_open_until_their_directory_is_synced() {
        let mut machine = Machine::default();
        machine.apply(&create("a/x", 1));
        machine.apply(&Change::Rename { from: "a/x".to_owned(), to: "a/y".to_owned() });
        assert_eq!(states(&machine), [vec![], vec!["a/x"], vec!["a/y"], vec!["a/y"]]);
        machine.apply(&Change::SyncDir { dir: String::new(), failed: false });
        assert_eq!(states(&machine).len(), 4, "another directory");
        machine.apply(&sync_dir(true));
        assert_eq!(states(&machine).len(), 4, "a failed sync");
        machine.apply(&sync_dir(false));
        machine.apply(&Change::Remove { path: "a/y".to_owned() });
        assert_eq!(states(&machine), [vec!["a/y"], vec![]]);
        machine.apply(&sync_dir(false));
        assert!(machine.files.is_empty());
    }
}
