//! One value of a row event as it stands in a key of the ledger: the same bytes as the proof's own statements read.

use std::net::Ipv4Addr;

use super::bytes::{high_first, low_first};
use super::table_map::{DIGIT_BYTES, Type, code};
use crate::adapters::mysql::proof::key_form::padded;
use crate::domain::proof::key::KeyPart;

/// How the values of a column are read into a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Integer {
        unsigned: bool,
    },
    Bits,
    Year,
    /// ENUM and SET, by their numbers.
    Choice,
    /// Bytes, filled up with zeros to this length.
    Binary(usize),
    Text {
        charset: Charset,
        /// Its place among others is that of its bytes.
        by_bytes: bool,
    },
    Date,
    /// With so many digits after the second.
    DateTime(u32),
    /// The same, in UTC.
    Timestamp(u32),
    Time(u32),
    Decimal,
    Uuid,
    Inet4,
    Inet6,
    /// A row event does not tell it in the form that servers print: FLOAT and DOUBLE, texts of other character sets.
    Not,
}

/// What becomes of the bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// Both sides have the same one, or one that contains it.
    Same,
    /// The servers' `latin1`, read as utf8mb4.
    Latin1,
    /// Which one it is asked for in is not known: only what is alike in all of them is read.
    Ascii,
}

impl How {
    /// Reads a value; `None` if it is not of that form.
    pub(super) fn read(self, of: Type, value: &[u8]) -> Option<KeyPart> {
        Some(match self {
            Self::Integer { unsigned } => KeyPart::Integer(integer(value, unsigned)?),
            Self::Bits => KeyPart::Integer(high_first(value.get(..8.min(value.len()))?).into()),
            Self::Year => KeyPart::Integer(match low_first(value) {
                0 => 0,
                years => i128::from(years) + 1900,
            }),
            Self::Choice if value.len() <= 8 => KeyPart::Integer(low_first(value).into()),
            Self::Binary(length) if is_plain(of) => KeyPart::Bytes(padded(value, length)),
            Self::Text { charset, by_bytes } if is_plain(of) => {
                let text = match charset {
                    Charset::Ascii if !value.is_ascii() => return None,
                    Charset::Same | Charset::Ascii => value.to_vec(),
                    Charset::Latin1 => value.iter().map(|byte| latin1(*byte)).collect::<String>().into(),
                };
                if by_bytes {
                    KeyPart::Bytes(text)
                } else {
                    KeyPart::Text(text)
                }
            }
            Self::Date => KeyPart::Bytes(date(value)?.into_bytes()),
            Self::DateTime(digits) => KeyPart::Bytes(date_time(of, value, digits)?.into_bytes()),
            Self::Timestamp(digits) => KeyPart::Bytes(timestamp(of, value, digits)?.into_bytes()),
            Self::Time(digits) => KeyPart::Text(time(of, value, digits)?.into_bytes()),
            Self::Decimal => KeyPart::Text(decimal(of, value)?.into_bytes()),
            Self::Uuid => KeyPart::Text(uuid(value)?.into_bytes()),
            Self::Inet4 => {
                let bytes = <[u8; 4]>::try_from(padded(value, 4)).ok()?;
                KeyPart::Text(Ipv4Addr::from(bytes).to_string().into_bytes())
            }
            Self::Inet6 => KeyPart::Text(inet6(value)?.into_bytes()),
            Self::Not | Self::Choice | Self::Binary(_) | Self::Text { .. } => return None,
        })
    }
}

/// Whether the bytes are the value, and not compressed.
fn is_plain(of: Type) -> bool {
    !matches!(of.code, code::BLOB_COMPRESSED | code::VARCHAR_COMPRESSED)
}

fn integer(value: &[u8], unsigned: bool) -> Option<i128> {
    let bits = 8 * u32::try_from(value.len()).ok().filter(|n| (1..=8).contains(n))?;
    let number = i128::from(low_first(value));
    let is_negative = !unsigned && number >> (bits - 1) & 1 == 1;
    Some(if is_negative { number - (1 << bits) } else { number })
}

/// The servers' `latin1` is Windows-1252; what that leaves open are control characters.
fn latin1(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

fn date(value: &[u8]) -> Option<String> {
    let packed = low_first(value.get(..3)?);
    let (day, month, year) = (packed & 31, packed >> 5 & 15, packed >> 9);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// A fraction of a second, as the newer types write it, cut or filled up to the digits that are printed.
fn fraction(of: Type, value: &[u8], digits: u32) -> Option<String> {
    let stored = u32::from(of.meta);
    if stored > 6 || digits < stored || digits > 6 {
        return None;
    }
    let micros = high_first(value)
        * 10_u64.pow(match value.len() {
            0..=3 => 6 - 2 * u32::try_from(value.len()).ok()?,
            _ => return None,
        });
    if micros > 999_999 {
        return None;
    }
    Some(micros_text(micros, digits))
}

fn micros_text(micros: u64, digits: u32) -> String {
    if digits == 0 {
        return String::new();
    }
    let all = format!("{micros:06}");
    format!(".{}", all.get(..digits.min(6) as usize).unwrap_or(&all))
}

fn date_time(of: Type, value: &[u8], digits: u32) -> Option<String> {
    if of.code == code::DATETIME {
        let packed = low_first(value.get(..8)?);
        let (date, time) = (packed / 1_000_000, packed % 1_000_000);
        return Some(format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{}",
            date / 10_000,
            date / 100 % 100,
            date % 100,
            time / 10_000,
            time / 100 % 100,
            time % 100,
            micros_text(0, digits)
        ));
    }
    let (whole, rest) = value.split_at_checked(5)?;
    // The highest bit says that it is not negative; a date never is.
    let packed = high_first(whole).checked_sub(0x80_0000_0000)?;
    let (date, time) = (packed >> 17, packed & 0x1_ffff);
    let (months, day) = (date >> 5, date & 31);
    Some(format!(
        "{:04}-{:02}-{day:02} {:02}:{:02}:{:02}{}",
        months / 13,
        months % 13,
        time >> 12,
        time >> 6 & 63,
        time & 63,
        fraction(of, rest, digits)?
    ))
}

fn timestamp(of: Type, value: &[u8], digits: u32) -> Option<String> {
    let (seconds, rest) = value.split_at_checked(4)?;
    let (seconds, fraction) = if of.code == code::TIMESTAMP {
        (low_first(seconds), micros_text(0, digits))
    } else {
        (high_first(seconds), fraction(of, rest, digits)?)
    };
    if seconds == 0 && fraction.bytes().all(|b| matches!(b, b'.' | b'0')) {
        return Some(format!("0000-00-00 00:00:00{fraction}"));
    }
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    Some(format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}{fraction}",
        second / 3600,
        second / 60 % 60,
        second % 60
    ))
}

/// The date so many days after 1970-01-01 (the algorithm of Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + 400 * era + u64::from(month <= 2), month, day)
}

fn time(of: Type, value: &[u8], digits: u32) -> Option<String> {
    if of.code == code::TIME {
        let number = integer(value.get(..3)?, false)?;
        let sign = if number < 0 { "-" } else { "" };
        let all = number.unsigned_abs();
        return Some(format!(
            "{sign}{:02}:{:02}:{:02}{}",
            all / 10_000,
            all / 100 % 100,
            all % 100,
            micros_text(0, digits)
        ));
    }
    let rest = value.get(3..)?;
    let stored = u32::from(of.meta);
    if stored > 6 || digits < stored || digits > 6 || rest.len() > 3 {
        return None;
    }
    // One number, whose middle is zero: the fraction is below the point.
    let bits = 8 * u32::try_from(rest.len()).ok()?;
    let packed = i128::from(high_first(value)) - (0x80_0000 << bits);
    let sign = if packed < 0 { "-" } else { "" };
    let all = u64::try_from(packed.unsigned_abs()).ok()?;
    let (seconds, below) = (all >> bits, all & ((1 << bits) - 1));
    let micros = below * 10_u64.pow(6 - 2 * u32::try_from(rest.len()).ok()?);
    if micros > 999_999 {
        return None;
    }
    Some(format!(
        "{sign}{:02}:{:02}:{:02}{}",
        seconds >> 12 & 1023,
        seconds >> 6 & 63,
        seconds & 63,
        micros_text(micros, digits)
    ))
}

fn decimal(of: Type, value: &[u8]) -> Option<String> {
    let [digits, scale] = of.meta.to_le_bytes();
    let whole_digits = digits.checked_sub(scale)?;
    let mut bytes = value.to_vec();
    let first = bytes.first_mut()?;
    let is_negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if is_negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut rest = bytes.as_slice();
    let mut group = |digits: u8| {
        let (head, tail) = rest.split_at_checked(DIGIT_BYTES[usize::from(digits)])?;
        rest = tail;
        let number = high_first(head);
        let width = usize::from(digits);
        // A group with more digits than it has room for is none.
        (number < 10_u64.pow(u32::from(digits))).then(|| format!("{number:0width$}"))
    };
    let mut text = String::new();
    if whole_digits % 9 > 0 {
        text.push_str(&group(whole_digits % 9)?);
    }
    for _ in 0..whole_digits / 9 {
        text.push_str(&group(9)?);
    }
    let whole = match text.trim_start_matches('0') {
        "" => "0",
        other => other,
    };
    let sign = if is_negative { "-" } else { "" };
    let mut printed = format!("{sign}{whole}");
    if scale > 0 {
        printed.push('.');
        for _ in 0..scale / 9 {
            printed.push_str(&group(9)?);
        }
        if scale % 9 > 0 {
            printed.push_str(&group(scale % 9)?);
        }
    }
    Some(printed)
}

/// MariaDB stores the parts of a UUID in an order that sorts by time, but for the versions that sort by themselves.
fn uuid(value: &[u8]) -> Option<String> {
    let value = padded(value, 16);
    let stored = <[u8; 16]>::try_from(value.as_slice()).ok()?;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let s = &stored;
    // The first byte of the node, and below it the version, decide (sql_type_uuid.h of MariaDB 10.11 and 11.8).
    let swapped = s[6] & 0x80 != 0 && s[6] >> 4 != 0 && (s[8] >> 4) < 6;
    Some(if swapped {
        [&s[12..16], &s[10..12], &s[8..10], &s[6..8], &s[0..6]]
            .map(hex)
            .join("-")
    } else {
        [&s[0..4], &s[4..6], &s[6..8], &s[8..10], &s[10..16]]
            .map(hex)
            .join("-")
    })
}

/// An IPv6 address as MariaDB prints it: the first of the longest runs of zero groups is left out, even one of one.
fn inet6(value: &[u8]) -> Option<String> {
    let value = padded(value, 16);
    let groups: Vec<u64> = value.chunks(2).map(high_first).collect();
    if groups.len() != 8 {
        return None;
    }
    let (mut best, mut at) = ((0, 0), 0);
    while at < 8 {
        let run = groups[at..].iter().take_while(|group| **group == 0).count();
        if run > best.1 {
            best = (at, run);
        }
        at += run.max(1);
    }
    // Even of a single group.
    let best = if best.1 > 0 { best } else { (8, 0) };
    let mut text = String::new();
    let mut at = 0;
    while at < 8 {
        if at == best.0 {
            text.push_str("::");
            at += best.1;
            continue;
        }
        // The two forms with an IPv4 address inside.
        if at == 6 && best.0 == 0 && (best.1 == 6 || best.1 == 5 && groups[5] == 0xffff) {
            let low = <[u8; 4]>::try_from(value.get(12..16)?).ok()?;
            if !text.ends_with(':') {
                text.push(':');
            }
            text.push_str(&Ipv4Addr::from(low).to_string());
            return Some(text);
        }
        if at > 0 && !text.ends_with(':') {
            text.push(':');
        }
        text.push_str(&format!("{:x}", groups[at]));
        at += 1;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(code: u8, meta: u16) -> Type {
        Type { code, meta }
    }

    fn printed(how: How, of: Type, value: &[u8]) -> String {
        match how.read(of, value).unwrap() {
            KeyPart::Integer(number) => number.to_string(),
            KeyPart::Bytes(text) | KeyPart::Text(text) => String::from_utf8(text).unwrap(),
        }
    }

    #[test]
    fn numbers_have_the_sign_that_the_table_says() {
        let all = [0xff; 8];
        let read = |unsigned, bytes: &[u8]| printed(How::Integer { unsigned }, of(code::LONGLONG, 0), bytes);
        assert_eq!(read(true, &all), "18446744073709551615");
        assert_eq!(read(false, &all), "-1");
        assert_eq!(read(false, &[0, 0, 0x80]), "-8388608");
        assert_eq!(read(true, &[0, 0, 0x80]), "8388608");
        assert_eq!(How::Integer { unsigned: true }.read(of(8, 0), &[]), None);
        assert_eq!(printed(How::Bits, of(code::BIT, 0), &[1, 2]), "258");
        assert_eq!(printed(How::Year, of(code::YEAR, 0), &[0]), "0");
        assert_eq!(printed(How::Year, of(code::YEAR, 0), &[255]), "2155");
    }

    #[test]
    fn times_are_printed_as_servers_print_them() {
        let ts =
            |meta, value: &[u8], digits| printed(How::Timestamp(digits), of(code::TIMESTAMP2, meta), value);
        assert_eq!(ts(0, &[0; 4], 0), "0000-00-00 00:00:00");
        assert_eq!(
            ts(3, &[0x65, 0x92, 0x00, 0x80, 0x04, 0xce], 3),
            "2024-01-01 00:00:00.123"
        );
        assert_eq!(ts(0, &[0x65, 0x92, 0x00, 0x80], 6), "2024-01-01 00:00:00.000000");
        assert_eq!(ts(0, &[0xff; 4], 0), "2106-02-07 06:28:15");
        let t = |meta, value: &[u8], digits| printed(How::Time(digits), of(code::TIME2, meta), value);
        assert_eq!(t(0, &[0x80, 0, 0], 0), "00:00:00");
        assert_eq!(t(0, &[0x7f, 0xff, 0xff], 0), "-00:00:01");
        assert_eq!(t(2, &[0x7f, 0xff, 0xff, 0xff], 2), "-00:00:00.01");
        assert_eq!(t(6, &[0x80, 0, 1, 0, 0, 1], 6), "00:00:01.000001");
        assert_eq!(t(0, &[0xb4, 0x6e, 0xfb], 0), "838:59:59");
        assert_eq!(
            printed(How::Date, of(code::DATE, 0), &[0x21, 0xd0, 0x0f]),
            "2024-01-01"
        );
    }

    #[test]
    fn decimals_keep_their_digits() {
        let d = |digits: u8, scale: u8, value: &[u8]| {
            let meta = u16::from_le_bytes([digits, scale]);
            printed(How::Decimal, of(code::NEWDECIMAL, meta), value)
        };
        assert_eq!(d(10, 2, &[0x80, 0, 0, 0, 0x01]), "0.01");
        assert_eq!(d(10, 2, &[0x7f, 0xff, 0xff, 0xff, 0xfe]), "-0.01");
        assert_eq!(d(4, 0, &[0x80, 0x07]), "7");
        // The manual's own example, 1234567890.1234.
        let value = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(d(14, 4, &value), "1234567890.1234");
    }

    #[test]
    fn addresses() {
        let at = |groups: [u16; 8]| {
            let bytes: Vec<u8> = groups.iter().flat_map(|g| g.to_be_bytes()).collect();
            printed(How::Inet6, of(code::STRING, 0), &bytes)
        };
        assert_eq!(at([0; 8]), "::");
        assert_eq!(
            at([0, 0, 0, 0, 0, 0, 0, 1]),
            "::0.0.0.1".replace("0.0.0.1", "1").as_str()
        );
        assert_eq!(at([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1]), "2001:db8::1:0:0:1");
        assert_eq!(at([0, 0, 0, 0, 0, 0xffff, 0x0102, 0x0304]), "::ffff:1.2.3.4");
        assert_eq!(at([1, 0, 0, 0, 0, 0, 0, 0]), "1::");
        assert_eq!(at([0, 2, 3, 4, 5, 6, 7, 8]), "::2:3:4:5:6:7:8");
        assert_eq!(at([1, 0, 3, 4, 0, 6, 7, 0]), "1::3:4:0:6:7:0");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            value in proptest::collection::vec(any::<u8>(), 0..20), code: u8, meta: u16, digits in 0_u32..9
        ) {
            for how in [
                How::Integer { unsigned: false }, How::Integer { unsigned: true }, How::Bits, How::Year, How::Choice,
                How::Binary(7), How::Text { charset: Charset::Latin1, by_bytes: true }, How::Date,
                How::DateTime(digits), How::Timestamp(digits), How::Time(digits), How::Decimal, How::Uuid,
                How::Inet4, How::Inet6, How::Not,
            ] {
                let _ = how.read(of(code, meta), &value);
                let _ = how.read(of(code, meta % 7), &value);
            }
        }
    }
}
