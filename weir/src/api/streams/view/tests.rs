use super::*;

#[test]
fn places_are_read_and_written_alike() {
    let place = |text: &str| text.parse::<From>().map(|from| from.place);
    assert_eq!((place("beginning"), place("now")), (Ok(Place::Beginning), Ok(Place::Now)));
    assert_eq!(place("17"), Ok(Place::Offset(17)));
    let day = Timestamp::from_micros(1_769_846_400_000_000);
    for text in ["2026-01-31T08:00:00Z", "2026-01-31T08:00:00", "2026-01-31T09:00:00+01:00"] {
        assert_eq!(place(text), Ok(Place::Time(day)), "{text}");
    }
    for text in ["beginning", "now", "0", "17", "17.3", "2026-01-31T08:00:00.000000Z"] {
        assert_eq!(text.parse::<From>().map(|from| from.to_string()), Ok(text.to_owned()));
    }
    for wrong in ["", "yesterday", "-1", "1.x", "2026-13-01"] {
        assert!(wrong.parse::<From>().unwrap_err().contains("expected beginning, now"), "{wrong}");
    }
}
