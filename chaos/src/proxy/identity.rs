//! Which message a payload is: its boot and its sequence number.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Number;

/// What a device numbers its messages by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) boot: i64,
    pub(crate) seq: i64,
}

impl Identity {
    /// That of a SenML pack or of a flat JSON object; `None` for anything else.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        match payload.trim_ascii_start().first()? {
            b'[' => senml(payload),
            _ => {
                let Flat { boot, seq } = serde_json::from_slice(payload).ok()?;
                Some(Self { boot, seq })
            }
        }
    }
}

#[derive(Deserialize)]
struct Flat {
    boot: i64,
    seq: i64,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    n: Cow<'a, str>,
    v: Option<Number>,
}

fn senml(payload: &[u8]) -> Option<Identity> {
    let records: Vec<Record<'_>> = serde_json::from_slice(payload).ok()?;
    let value = |name| records.iter().find(|record| record.n == name)?.v.as_ref()?.as_i64();
    Some(Identity { boot: value("boot")?, seq: value("seq")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_the_fleet_are_read() {
        let senml = r#"[{"bn":"device-0001:","bt":1790000000.25,"n":"boot","v":1790000000},{"n":"seq","v":17},{"n":"temperature","u":"Cel","v":20.5}]"#;
        let flat = r#"{"device_id":"device-0002","time":1790000000,"boot":-3,"seq":9007199254740993,"humidity":1e2}"#;
        assert_eq!(Identity::of(senml.as_bytes()), Some(Identity { boot: 1_790_000_000, seq: 17 }));
        assert_eq!(Identity::of(flat.as_bytes()), Some(Identity { boot: -3, seq: 9_007_199_254_740_993 }));
    }

    #[test]
    fn the_order_of_keys_and_white_space_do_not_matter() {
        let senml = "\n [ { \"v\" : 2, \"n\" : \"seq\" } , {\"n\":\"x\",\"vs\":\"seq\"}, {\"v\":1,\"n\":\"boot\"} ]";
        assert_eq!(Identity::of(senml.as_bytes()), Some(Identity { boot: 1, seq: 2 }));
    }

    #[test]
    fn what_names_no_message_has_no_identity() {
        for payload in ["", "20.5", "[]", "{}", r#"{"boot":1}"#, r#"[{"n":"boot","v":1}]"#, r#"{"boot":1,"seq":1.5}"#] {
            assert_eq!(Identity::of(payload.as_bytes()), None, "{payload}");
        }
    }
}
