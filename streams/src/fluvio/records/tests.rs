use fluvio::dataplane::record::{MemoryRecords, Record};
use fluvio::dataplane::{Decoder, Encoder};
use proptest::prelude::*;

use super::*;

fn packed(values: &[Vec<u8>], base: i64) -> Batch<RawRecords> {
    let mut packer = Packer::default();
    for value in values {
        packer.add(value.len(), |out| out.put_slice(value));
    }
    let mut batch = packer.batch(Timestamp::from_micros(1_700_000_000_000_000));
    batch.base_offset = base;
    batch
}

/// The bytes of a reply as a server sends it, and what the client makes of its first `max_bytes`.
fn over_the_wire(batches: Vec<Batch<RawRecords>>, max_bytes: usize) -> RecordSet<RawRecords> {
    let mut wire = Vec::new();
    for batch in batches {
        batch.encode(&mut wire, 0).unwrap();
    }
    wire.truncate(max_bytes);
    let mut reply = u32::try_from(wire.len()).unwrap().to_be_bytes().to_vec();
    reply.extend(wire);
    RecordSet::decode_from(&mut &reply[..], 0).unwrap()
}

fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..80)
}

proptest! {
    #[test]
    fn batches_are_those_of_the_client(values in values()) {
        let ours = packed(&values, 0).records().0.clone();
        let theirs: MemoryRecords = Decoder::decode_from(&mut ours.clone(), 0).unwrap();
        let theirs_values: Vec<Vec<u8>> = theirs.iter().map(|record| record.value.as_ref().to_vec()).collect();
        prop_assert_eq!(&theirs_values, &values);
        let batch: Batch<RawRecords> = Batch::from(values.into_iter().map(Record::new).collect::<Vec<_>>()).try_into().unwrap();
        prop_assert_eq!(&batch.records().0, &ours, "byte for byte");
    }

    #[test]
    fn a_reply_cut_anywhere_gives_a_prefix_and_says_so(
        first in values(), second in values(), cut in any::<prop::sample::Index>(), from in 0_u64..200,
    ) {
        let count = |values: &Vec<Vec<u8>>| u64::try_from(values.len()).unwrap();
        let boundary = count(&first);
        let end = boundary + count(&second);
        let batches = vec![packed(&first, 0), packed(&second, i64::try_from(boundary).unwrap())];
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.write_size(0)).collect();
        let cut = cut.index(sizes.iter().sum::<usize>() + 1);
        let unpacked = unpack(over_the_wire(batches, cut), from);
        let reaches = if cut < sizes[0] { 0 } else if cut < sizes[0] + sizes[1] { boundary } else { end };
        let all: Vec<Vec<u8>> = first.into_iter().chain(second).collect();
        let expected: Vec<Slot> = (from..reaches)
            .map(|offset| Slot { offset, value: Some(Bytes::from(all[usize::try_from(offset).unwrap()].clone())) })
            .collect();
        prop_assert_eq!(unpacked.slots, expected);
        if let Some(Ended::Cut(bytes)) = unpacked.ended {
            prop_assert!(reaches < end, "a whole reply is not cut");
            prop_assert!(bytes == sizes[0] - 12 || bytes == sizes[1] - 12, "the size to ask for");
        }
    }

    #[test]
    fn damage_in_a_batch_is_damage_of_its_records(values in values(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut batch = packed(&values, 7);
        let mut raw = batch.records().0.to_vec();
        let at = at.index(raw.len());
        raw[at] ^= flip;
        *batch.mut_records() = RawRecords(Bytes::from(raw));
        let unpacked = unpack(over_the_wire(vec![batch], usize::MAX), 7);
        prop_assert_eq!(unpacked.slots.len(), values.len(), "each offset is accounted for");
        prop_assert!(unpacked.slots.iter().map(|slot| slot.offset).eq(7..7 + u64::try_from(values.len()).unwrap()));
    }
}

#[test]
fn a_hole_is_told() {
    let unpacked = unpack(over_the_wire(vec![packed(&[vec![1]], 5)], usize::MAX), 3);
    assert_eq!(unpacked, Unpacked { slots: Vec::new(), ended: Some(Ended::Hole(5)) });
}

#[test]
fn an_empty_reply_holds_nothing() {
    assert_eq!(unpack(over_the_wire(Vec::new(), usize::MAX), 3), Unpacked::default());
}
