//! Which server a server is, whatever name it was reached by.

use serde::{Deserialize, Serialize};

use super::server::Family;

/// The largest number of bytes of a server's label.
const LABEL_BYTES: usize = 240;

/// What tells one server from another. Host names and addresses are not part of it: DNS and proxies lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// MySQL or MariaDB.
    pub family: Family,
    /// MySQL's `server_uuid`, of the data directory; MariaDB has none (its `server_uid` is made from the machine and
    /// the port and changes with them).
    pub server_uuid: Option<String>,
    /// `server_id`, of the configuration.
    pub server_id: u32,
    /// `@@hostname`: what the machine calls itself.
    pub hostname: String,
    /// `@@port`, as the server sees it.
    pub port: u16,
    /// The data directory.
    pub datadir: String,
    /// MariaDB's `gtid_domain_id`: the domain of what is written on this server.
    pub gtid_domain_id: Option<u32>,
}

impl Identity {
    /// Whether both are one and the same running server.
    ///
    /// On MySQL the uuid says it. Without one: the same machine name, data directory and port. (A server id may be the
    /// same on two servers by mistake, so it proves nothing.)
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        match (&self.server_uuid, &other.server_uuid) {
            // Two copies of one data directory have one uuid and are two servers; then the place decides.
            (Some(a), Some(b)) if !a.eq_ignore_ascii_case(b) => false,
            (None, Some(_)) | (Some(_), None) => false,
            _ => self.hostname == other.hostname && self.datadir == other.datadir && self.port == other.port,
        }
    }

    /// A short text that names the server in records and messages. A very long data directory is cut, here and nowhere
    /// else, so that a record takes it whole and is found again by it.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = match &self.server_uuid {
            Some(uuid) => uuid.clone(),
            None => format!(
                "server_id {} on {}:{} ({})",
                self.server_id, self.hostname, self.port, self.datadir
            ),
        };
        label.truncate(label.floor_char_boundary(LABEL_BYTES));
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_server_is_told_by_uuid_and_place() {
        let mysql = Identity {
            family: Family::MySql,
            server_uuid: Some("55121d2e-e789-11f1-bffb-02fc00000001".into()),
            server_id: 1,
            hostname: "db1".into(),
            port: 3306,
            datadir: "/var/lib/mysql/".into(),
            gtid_domain_id: None,
        };
        assert!(mysql.is_same_server(&mysql));
        let copied = Identity {
            hostname: "db2".into(),
            ..mysql.clone()
        };
        assert!(!mysql.is_same_server(&copied), "a file copy is another server");
        let mariadb = Identity {
            family: Family::MariaDb,
            server_uuid: None,
            gtid_domain_id: Some(0),
            ..mysql.clone()
        };
        let beside = Identity {
            port: 3307,
            datadir: "/srv/b/".into(),
            ..mariadb.clone()
        };
        assert!(mariadb.is_same_server(&mariadb));
        assert!(!mariadb.is_same_server(&beside));
        assert!(!mariadb.is_same_server(&mysql));
        let far = Identity {
            datadir: "é".repeat(300),
            ..mariadb
        };
        assert!(
            (239..=240).contains(&far.label().len()),
            "a record takes it whole"
        );
    }
}
