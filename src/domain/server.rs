//! What a server is: its family, its version, and what it can do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The two families that bleen moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// MySQL and builds of it (Percona Server).
    #[serde(rename = "mysql")]
    MySql,
    /// MariaDB.
    #[serde(rename = "mariadb")]
    MariaDb,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// A server's family and version number, read from `@@version` and `@@version_comment`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// MySQL or MariaDB.
    pub family: Family,
    /// Major, minor and patch number.
    pub number: (u16, u16, u16),
    /// The server's own words.
    pub text: String,
}

impl Version {
    /// Reads `9.7.4`, `11.8.9-MariaDB-log` or `5.5.5-10.11.19-MariaDB`; a part that is missing counts as 0.
    #[must_use]
    pub fn parse(version: &str, comment: &str) -> Self {
        let is_mariadb = [version, comment]
            .iter()
            .any(|t| t.to_ascii_lowercase().contains("mariadb"));
        let family = if is_mariadb {
            Family::MariaDb
        } else {
            Family::MySql
        };
        // MariaDB once put "5.5.5-" before its own version so that old replicas accepted it.
        let plain = if is_mariadb {
            version.strip_prefix("5.5.5-").unwrap_or(version)
        } else {
            version
        };
        let mut parts = plain
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()
            .unwrap_or_default()
            .split('.')
            .map(|p| p.parse().unwrap_or(0));
        let mut part = || parts.next().unwrap_or(0);
        Self {
            family,
            number: (part(), part(), part()),
            text: version.to_owned(),
        }
    }

    /// Whether this is a MySQL of at least that version.
    #[must_use]
    pub fn is_mysql_from(&self, number: (u16, u16, u16)) -> bool {
        self.family == Family::MySql && self.number >= number
    }

    /// Whether this is a MariaDB of at least that version.
    #[must_use]
    pub fn is_mariadb_from(&self, number: (u16, u16, u16)) -> bool {
        self.family == Family::MariaDb && self.number >= number
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.number;
        write!(f, "{} {major}.{minor}.{patch}", self.family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_servers_print_them() {
        let v = Version::parse("9.7.4", "(Debian)");
        assert_eq!((v.family, v.number), (Family::MySql, (9, 7, 4)));
        let v = Version::parse("11.8.9-MariaDB-0+deb13u1", "Debian 13");
        assert_eq!((v.family, v.number), (Family::MariaDb, (11, 8, 9)));
        let v = Version::parse("5.5.5-10.11.19-MariaDB-log", "");
        assert_eq!((v.family, v.number), (Family::MariaDb, (10, 11, 19)));
        let v = Version::parse("5.6.24-log", "MySQL Community Server (GPL)");
        assert_eq!((v.family, v.number), (Family::MySql, (5, 6, 24)));
        assert_eq!(Version::parse("8", "").number, (8, 0, 0));
    }
}
