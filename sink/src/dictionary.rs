//! Dictionaries of many batches made one, in order of text.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::error::ArrowError;

/// A null, among keys.
const NULL: i32 = -1;

/// One column over the rows of all batches: keys into `values`, which are distinct and sorted, so that a
/// smaller key is a smaller text.
#[derive(Debug)]
pub(crate) struct Unified {
    /// Key of each row; null where the row is.
    pub(crate) keys: Int32Array,
    /// The texts.
    pub(crate) values: ArrayRef,
}

/// Joins `columns`, dictionaries of text with 32-bit keys.
///
/// # Errors
/// If a column has another type.
pub(crate) fn unify(columns: &[&ArrayRef]) -> Result<Unified, ArrowError> {
    let columns = columns.iter().map(|column| parts(column)).collect::<Result<Vec<_>, _>>()?;
    let mut found: HashMap<&str, i32> = HashMap::new();
    for (_, values) in &columns {
        for text in values.iter().flatten() {
            let next = i32::try_from(found.len()).map_err(|_| ArrowError::DictionaryKeyOverflowError)?;
            found.entry(text).or_insert(next);
        }
    }
    let mut texts: Vec<&str> = found.keys().copied().collect();
    texts.sort_unstable();
    for (rank, text) in (0..).zip(&texts) {
        found.insert(text, rank);
    }
    let rows = columns.iter().map(|(keys, _)| keys.len()).sum();
    let mut keys = Vec::with_capacity(rows);
    for (of, values) in &columns {
        let ranks: Vec<i32> =
            values.iter().map(|text| text.and_then(|text| found.get(text)).map_or(NULL, |rank| *rank)).collect();
        extend_keys(&mut keys, of, &ranks);
    }
    Ok(Unified { keys: nullable(keys), values: Arc::new(StringArray::from(texts)) })
}

fn parts(column: &ArrayRef) -> Result<(&Int32Array, &StringArray), ArrowError> {
    let dictionary = column.as_any().downcast_ref::<DictionaryArray<Int32Type>>();
    let values = dictionary.and_then(|dictionary| dictionary.values().as_any().downcast_ref::<StringArray>());
    dictionary.map(DictionaryArray::keys).zip(values).ok_or_else(|| {
        ArrowError::SchemaError(format!("column is {}, expected a dictionary of text", column.data_type()))
    })
}

fn extend_keys(into: &mut Vec<i32>, keys: &Int32Array, ranks: &[i32]) {
    let rank = |key: i32| usize::try_from(key).ok().and_then(|key| ranks.get(key)).copied().unwrap_or(NULL);
    if keys.null_count() == 0 {
        into.extend(keys.values().iter().map(|key| rank(*key)));
    } else {
        into.extend(keys.iter().map(|key| key.map_or(NULL, rank)));
    }
}

fn nullable(keys: Vec<i32>) -> Int32Array {
    let nulls = keys.contains(&NULL).then(|| NullBuffer::from_iter(keys.iter().map(|key| *key != NULL)));
    Int32Array::new(keys.into(), nulls)
}

/// The dictionary column of `keys` into `values`, as a field of type `field`.
///
/// # Errors
/// If a key is no index of `values`.
pub(crate) fn column(keys: Int32Array, values: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    debug_assert!(matches!(field.data_type(), DataType::Dictionary(_, _)), "only dictionary columns are unified");
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values.clone())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(texts: &[Option<&str>]) -> ArrayRef {
        Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>())
    }

    #[test]
    fn keys_of_all_batches_are_ranks_of_their_texts() {
        let (one, two) = (dictionary(&[Some("m"), None, Some("a")]), dictionary(&[Some("z"), Some("m")]));
        let unified = unify(&[&one, &two]).unwrap();
        let texts: Vec<_> = unified.values.as_any().downcast_ref::<StringArray>().unwrap().iter().flatten().collect();
        assert_eq!(texts, ["a", "m", "z"]);
        assert_eq!(unified.keys, Int32Array::from(vec![Some(1), None, Some(0), Some(2), Some(1)]));
    }

    #[test]
    fn a_null_among_the_texts_is_a_null_row() {
        let values = StringArray::from(vec![None, Some("a")]);
        let keys = Int32Array::from(vec![0, 1]);
        let column: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(values)));
        assert_eq!(unify(&[&column]).unwrap().keys, Int32Array::from(vec![None, Some(0)]));
    }

    #[test]
    fn another_type_is_refused() {
        let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(unify(&[&column]).unwrap_err().to_string().contains("Int32"));
    }
}
