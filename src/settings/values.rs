//! The kinds of values that settings have, each with the words that say how it is written.
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that a settings file can hold.
pub trait Setting: Serialize + DeserializeOwned + Clone {
    /// How it is written, to go on from "needs": "a whole number".
    const WRITTEN: &'static str;
}

macro_rules! settings {
    ($($kind:ty => $written:literal),* $(,)?) => {
        $(impl Setting for $kind { const WRITTEN: &'static str = $written; })*
    };
}

settings! {
    bool => "true or false",
    u8 => "a whole number from 0 to 255",
    i32 => "a whole number",
    u32 => "a whole number from 0 to 4294967295",
    Option<u32> => "a whole number from 0 to 4294967295, or None",
    f64 => "a number",
    String => "a text in quotes",
    Option<String> => "a text in quotes, or None",
    PathBuf => "a path in quotes",
    HumanDuration => "a duration in quotes, like \"30s\"",
    Bytes => "a size in quotes like \"4 GiB\"",
    Amount<u32> => "a whole number, or \"auto\"",
    Amount<bool> => "true, false or \"auto\"",
    Amount<Bytes> => "a size in quotes like \"4 GiB\", or \"auto\"",
    LogLevel => "one of \"error\", \"warn\", \"info\", \"debug\" and \"trace\"",
}

/// A duration as people write it: a whole number and one of `ms s m h d`, like `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// The units of a duration, in milliseconds; the greatest first, so that a span is shown in the one that fits.
const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A size as people write it: a whole number and one of `KiB MiB GiB`, like `4 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// The units of a size, in bytes.
const BYTE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number with one of the units, with at most one space between them.
fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The greatest unit that needs no fraction.
fn write_with_unit(value: u64, units: &[(&str, u64)], space: &str) -> Option<String> {
    let (unit, factor) = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))?;
    Some(format!("{}{space}{unit}", value / factor))
}

impl FromStr for HumanDuration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let milliseconds = parse_with_unit(text, &SPAN_UNITS).ok_or_else(|| {
            format!("`{text}` is no duration: write a whole number and one of ms, s, m, h, d")
        })?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        f.write_str(&write_with_unit(milliseconds, &SPAN_UNITS, "").unwrap_or_else(|| "0s".to_owned()))
    }
}

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = parse_with_unit(text, &BYTE_UNITS)
            .ok_or_else(|| format!("`{text}` is no size: write a whole number and one of KiB, MiB, GiB"))?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = write_with_unit(self.0, &BYTE_UNITS, " ");
        f.write_str(
            &shown.unwrap_or_else(
                || if self.0 == 0 { "0 KiB".to_owned() } else { format!("{} bytes", self.0) },
            ),
        )
    }
}

/// How much the daemon reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may fail soon.
    Warn,
    /// And what the house does: starts, stops, restarts.
    Info,
    /// And each message's way.
    Debug,
    /// And everything else.
    Trace,
}

impl LogLevel {
    /// Its word in settings and in `tracing`'s filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let levels = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        let level = levels.into_iter().find(|level| level.as_str() == text);
        level.ok_or_else(|| format!("`{text}` is no log level: write {}", Self::WRITTEN))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number that the daemon chooses by the machine it runs on, unless it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount<T> {
    /// `"auto"`
    Auto,
    /// As written.
    Fixed(T),
}

impl<T: fmt::Display> fmt::Display for Amount<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(value) => value.fmt(f),
        }
    }
}

macro_rules! as_text {
    ($($kind:ty),*) => {
        $(
            impl Serialize for $kind {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> Deserialize<'de> for $kind {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                }
            }
        )*
    };
}

as_text!(HumanDuration, Bytes, LogLevel);

impl<T: Serialize> Serialize for Amount<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Amount<u32> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Amount<u32>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Amount::<u32>::WRITTEN)
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
                u32::try_from(value).map(Amount::Fixed).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == "auto" {
                    return Ok(Amount::Auto);
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl<'de> Deserialize<'de> for Amount<bool> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Amount<bool>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Amount::<bool>::WRITTEN)
            }
            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Amount::Fixed(value))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == "auto" {
                    return Ok(Amount::Auto);
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl<'de> Deserialize<'de> for Amount<Bytes> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Fixed).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_what_they_write() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("10 m", 600_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
        ] {
            let span: HumanDuration = text.parse().unwrap();
            assert_eq!(span.0.as_millis(), milliseconds, "{text}");
            assert_eq!(span.to_string().parse::<HumanDuration>().unwrap(), span);
        }
        assert_eq!(HumanDuration(Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(HumanDuration(Duration::ZERO).to_string(), "0s");
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "30  s",
            "30 sec",
            " 30s",
            "30s ",
            "99999999999999999999s",
            "99999999999999999d",
        ] {
            assert!(bad.parse::<HumanDuration>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_what_they_write() {
        for (text, bytes) in [("4 GiB", 4 << 30), ("512MiB", 512 << 20), ("64 KiB", 64 << 10)] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string().parse::<Bytes>().unwrap(), size);
        }
        for bad in ["", "4", "4 GB", "4G", "GiB", "99999999999999999 GiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }
}
