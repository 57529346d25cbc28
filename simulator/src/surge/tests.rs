use super::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// How many of a source with `rate` messages a second are due in each second, `whole` seconds long.
fn due_in_each_second(surge: Surge, rate: f64, whole: usize) -> Vec<u32> {
    let mut counts = vec![0; whole];
    for number in 0_u32.. {
        let due = surge.bend(seconds(f64::from(number) / rate));
        match counts.get_mut(usize::try_from(due.as_secs()).unwrap()) {
            Some(count) => *count += 1,
            None => break,
        }
    }
    counts
}

#[test]
fn the_rate_rises_to_its_peak_and_falls_as_it_rose() {
    let surge: Surge = "10x@10s+3s".parse().unwrap();
    let counts = due_in_each_second(surge, 1_000.0, 26);
    // The mean of the rate over each second: 1000, then 900 more from second to second, to 10,000 and back.
    let rising = (0..10).map(|second| 1_450 + 900 * second);
    let falling = rising.clone().rev();
    let expected: Vec<i64> = [1_000; 3].into_iter().chain(rising).chain(falling).chain([1_000; 3]).collect();
    for (second, (count, expected)) in counts.into_iter().zip(expected).enumerate() {
        assert!((i64::from(count) - expected).abs() <= 1, "second {second}: {count}, not {expected}");
    }
}

#[test]
fn moments_never_go_back_and_a_factor_of_one_changes_nothing() {
    let (surge, flat): (Surge, Surge) = ("7.5x@3s+250ms".parse().unwrap(), "1x@3s".parse().unwrap());
    let mut last = Duration::ZERO;
    for number in 0..20_000_u32 {
        let steady = seconds(f64::from(number) / 400.0);
        let due = surge.bend(steady);
        assert!(due >= last, "{due:?} after {last:?}");
        last = due;
        assert!(flat.bend(steady).abs_diff(steady) < Duration::from_nanos(100), "{steady:?}");
    }
    assert_eq!(surge.bend(Duration::MAX), Duration::MAX);
}

#[test]
fn a_surge_is_read_with_its_units() {
    let surge = |factor, rise, after| Surge::new(factor, seconds(rise), seconds(after)).unwrap();
    assert_eq!("10x@2m".parse::<Surge>().unwrap(), surge(10.0, 120.0, 0.0));
    assert_eq!("2.5x@500ms+1.5s".parse::<Surge>().unwrap(), surge(2.5, 0.5, 1.5));
    for wrong in
        ["", "10", "10x", "10x@", "x@2m", "10x@2", "10@2m", "0.5x@2m", "NaNx@2m", "10x@0s", "10x@2m+", "1e9x@1s"]
    {
        let error = wrong.parse::<Surge>().unwrap_err().to_string();
        assert!(error.contains("expected"), "{wrong}: {error}");
    }
}
