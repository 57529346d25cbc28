//! Whose file it is: of which partitions, and a name that tells it from the files of others.

use redb::{ReadableTable, TableDefinition};

use super::{BEGUN, COUNTERS, Store, StoreError};

/// `partitions`: those whose runs are in the file. `name`: its own.
const OWNER: TableDefinition<'_, &str, &str> = TableDefinition::new("owner");
const PARTITIONS: &str = "partitions";
const NAME: &str = "name";

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::workflows) struct Owner {
    pub(in crate::workflows) partitions: String,
    pub(in crate::workflows) name: String,
}

impl Store {
    /// What the file says of itself. It takes the name of `given` if it has none; and the partitions of `given` if
    /// nothing is in it yet, else those of `whole` where no older version of Weir wrote any.
    pub(in crate::workflows) fn owner(&self, given: &Owner, whole: &str) -> Result<Owner, StoreError> {
        let write = || -> Result<Owner, redb::Error> {
            let transaction = self.database.begin_write()?;
            let owner = {
                let begun = transaction.open_table(COUNTERS)?.get(BEGUN)?.is_some();
                let mut table = transaction.open_table(OWNER)?;
                let name = table.get(NAME)?.map(|name| name.value().to_owned());
                let partitions = table.get(PARTITIONS)?.map(|partitions| partitions.value().to_owned());
                let owner = Owner {
                    name: name.unwrap_or_else(|| given.name.clone()),
                    partitions: match partitions {
                        Some(partitions) if begun => partitions,
                        None if begun => whole.to_owned(),
                        _ => given.partitions.clone(),
                    },
                };
                table.insert(NAME, &*owner.name)?;
                table.insert(PARTITIONS, &*owner.partitions)?;
                owner
            };
            transaction.commit()?;
            Ok(owner)
        };
        write().map_err(|error| self.failed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(partitions: &str, name: &str) -> Owner {
        Owner { partitions: partitions.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_file_keeps_its_partitions_from_when_something_may_be_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        assert_eq!(store.owner(&owner("0 of 8", "a"), "0-7 of 8").unwrap(), owner("0 of 8", "a"));
        assert_eq!(store.owner(&owner("1 of 8", "b"), "0-7 of 8").unwrap(), owner("1 of 8", "a"), "nothing is in it");
        store.confirm().unwrap();
        assert_eq!(store.owner(&owner("2 of 8", "c"), "0-7 of 8").unwrap(), owner("1 of 8", "a"));
    }

    #[test]
    fn a_file_of_an_older_version_is_of_all_partitions() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        store.confirm().unwrap();
        assert_eq!(store.owner(&owner("2 of 8", "c"), "0-7 of 8").unwrap(), owner("0-7 of 8", "c"));
    }
}
