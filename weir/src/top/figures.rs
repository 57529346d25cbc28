//! Figures for a person: few digits, and the unit with them.

/// How many, exactly up to five digits.
pub(super) fn count(number: u64) -> String {
    if number < 100_000 { number.to_string() } else { scaled(float(number)) }
}

/// How many a second.
pub(super) fn rate(per_second: f64) -> String {
    if !per_second.is_finite() {
        "-".to_owned()
    } else if per_second == 0.0 {
        "0".to_owned()
    } else if per_second < 10.0 {
        format!("{per_second:.1}")
    } else if per_second < 10_000.0 {
        format!("{per_second:.0}")
    } else {
        scaled(per_second)
    }
}

/// A size.
pub(super) fn bytes(bytes: f64) -> String {
    let mut scaled = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1024.0 {
            return if unit == "B" || scaled >= 100.0 {
                format!("{scaled:.0} {unit}")
            } else {
                format!("{scaled:.1} {unit}")
            };
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.1} TiB")
}

/// A length of time.
pub(super) fn seconds(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 3600.0;
    const DAY: f64 = 86_400.0;
    if !seconds.is_finite() {
        "-".to_owned()
    } else if seconds <= 0.0 {
        "0 s".to_owned()
    } else if seconds < 0.01 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 2.0 * MINUTE {
        format!("{seconds:.0} s")
    } else if seconds < 2.0 * HOUR {
        format!("{:.0} min", seconds / MINUTE)
    } else if seconds < 2.0 * DAY {
        format!("{:.0} h", seconds / HOUR)
    } else {
        format!("{:.0} d", seconds / DAY)
    }
}

/// A measured value, in whatever unit its metric has.
pub(super) fn value(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "-".to_owned()
    } else if size >= 1e7 || (size > 0.0 && size < 1e-3) {
        format!("{value:.2e}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Time of day in UTC of a time in milliseconds.
pub(super) fn time_of_day(time_ms: i64) -> String {
    let second = time_ms.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// A count as a number to compute rates with.
#[expect(clippy::cast_precision_loss, reason = "figures for a person, exact to 2^53")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

fn scaled(number: f64) -> String {
    let mut scaled = number / 1000.0;
    for unit in ["k", "M", "G"] {
        if scaled < 1000.0 {
            return if scaled >= 100.0 { format!("{scaled:.0}{unit}") } else { format!("{scaled:.1}{unit}") };
        }
        scaled /= 1000.0;
    }
    format!("{scaled:.1}T")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_rates_have_few_digits() {
        assert_eq!([count(0), count(99_999), count(123_456)], ["0", "99999", "123k"]);
        assert_eq!([count(1_234_567), count(u64::MAX)], ["1.2M", "18446744.1T"]);
        assert_eq!([rate(0.0), rate(0.25), rate(950.4), rate(12_345.0)], ["0", "0.2", "950", "12.3k"]);
        assert_eq!([rate(f64::NAN), rate(f64::INFINITY)], ["-", "-"]);
    }

    #[test]
    fn sizes_and_times_have_their_units() {
        assert_eq!([bytes(0.0), bytes(1536.0), bytes(300.0 * 1024.0)], ["0 B", "1.5 KiB", "300 KiB"]);
        assert_eq!(bytes(1e15), "909.5 TiB");
        assert_eq!([seconds(0.0), seconds(0.0071), seconds(0.25)], ["0 s", "7.1 ms", "250 ms"]);
        assert_eq!([seconds(1.25), seconds(59.6), seconds(600.0)], ["1.2 s", "60 s", "10 min"]);
        assert_eq!([seconds(7200.0), seconds(200_000.0)], ["2 h", "2 d"]);
        assert_eq!(time_of_day(1_700_000_000_123), "22:13:20");
        assert_eq!(time_of_day(-1), "23:59:59");
    }

    #[test]
    fn values_keep_the_digits_that_tell() {
        assert_eq!([value(0.0), value(-3.25), value(1013.25)], ["0.00", "-3.25", "1013.2"]);
        assert_eq!([value(1.5e9), value(2e-5), value(f64::NAN)], ["1.50e9", "2.00e-5", "-"]);
    }
}
