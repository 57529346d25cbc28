use proptest::prelude::*;

use super::*;

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let kind = prop_oneof![Just(Kind::Record), Just(Kind::Moved), Just(Kind::Lost)];
    (kind, any::<u64>(), any::<u64>(), any::<u32>(), any::<i64>()).prop_map(
        |(kind, writer, sequence, rows, appended_at)| Envelope {
            kind,
            writer,
            sequence,
            rows,
            appended_at: Timestamp::from_micros(appended_at),
        },
    )
}

fn sealed(envelope: &Envelope, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    envelope.put(payload, &mut out);
    out.freeze()
}

proptest! {
    #[test]
    fn what_is_put_in_comes_out(envelope in any_envelope(), payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let record = sealed(&envelope, &payload);
        prop_assert_eq!(record.len(), HEADER + payload.len());
        prop_assert_eq!(Envelope::open(&record), Some((envelope, Bytes::from(payload))));
    }

    #[test]
    fn no_damage_goes_unseen(
        envelope in any_envelope(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut record = sealed(&envelope, &payload).to_vec();
        let at = at.index(record.len());
        record[at] ^= flip;
        prop_assert_eq!(Envelope::open(&Bytes::from(record)), None);
    }

    #[test]
    fn a_record_cut_short_is_none(
        envelope in any_envelope(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let record = sealed(&envelope, &payload);
        prop_assert_eq!(Envelope::open(&record.slice(..at.index(record.len()))), None);
    }

    #[test]
    fn what_others_wrote_is_none(foreign in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(Envelope::open(&Bytes::from(foreign)), None);
    }
}
