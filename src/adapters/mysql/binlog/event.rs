//! An event as the driver gives it, without its checksum.

use super::names::Numbered;

/// An event.
#[derive(Debug, Clone)]
pub(super) struct Event<'a> {
    pub kind: u8,
    pub flags: u16,
    /// Where it ends, as it says itself, in 32 bits.
    pub log_pos: u32,
    /// How long it is, with its header and its checksum.
    pub size: u32,
    pub body: &'a [u8],
    /// Who numbered the transaction, where that has a tag.
    pub tagged: Option<Numbered>,
}

impl Event<'_> {
    /// Made by the server for this reader only.
    pub(super) fn is_artificial(&self) -> bool {
        self.flags & 0x20 != 0
    }

    /// Whoever does not know it may leave it out.
    pub(super) fn is_ignorable(&self) -> bool {
        self.flags & 0x80 != 0
    }
}

/// What an incident says about itself.
pub(super) fn incident(body: &[u8]) -> String {
    let words = body.get(3..).map(String::from_utf8_lossy).unwrap_or_default();
    if words.is_empty() {
        "changes were lost".to_owned()
    } else {
        words.into_owned()
    }
}

pub(super) mod kind {
    //! Kinds of events, by both families' numbers.
    use super::super::rows::Act;

    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const INTVAR: u8 = 5;
    pub const APPEND_BLOCK: u8 = 9;
    pub const DELETE_FILE: u8 = 11;
    pub const RAND: u8 = 13;
    pub const USER_VAR: u8 = 14;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const BEGIN_LOAD_QUERY: u8 = 17;
    pub const EXECUTE_LOAD_QUERY: u8 = 18;
    pub const TABLE_MAP: u8 = 19;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const IGNORABLE: u8 = 28;
    pub const ROWS_QUERY: u8 = 29;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const TRANSACTION_CONTEXT: u8 = 36;
    pub const VIEW_CHANGE: u8 = 37;
    pub const XA_PREPARE: u8 = 38;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_2: u8 = 41;
    pub const GTID_TAGGED: u8 = 42;
    pub const ANNOTATE_ROWS: u8 = 160;
    pub const BINLOG_CHECKPOINT: u8 = 161;
    pub const MARIADB_GTID: u8 = 162;
    pub const GTID_LIST: u8 = 163;
    pub const START_ENCRYPTION: u8 = 164;
    pub const QUERY_COMPRESSED: u8 = 165;

    /// How a row event is to be read.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Rows {
        pub act: Act,
        /// The second version, with room for more in its head.
        pub with_extra: bool,
        pub compressed: bool,
    }

    /// What kind of row event it is, if it is one.
    pub fn rows(kind: u8) -> Option<Rows> {
        let of = |act, with_extra, compressed| {
            Some(Rows {
                act,
                with_extra,
                compressed,
            })
        };
        match kind {
            23 => of(Act::Insert, false, false),
            24 => of(Act::Update, false, false),
            25 => of(Act::Delete, false, false),
            30 => of(Act::Insert, true, false),
            31 => of(Act::Update, true, false),
            32 => of(Act::Delete, true, false),
            39 => of(Act::PartialUpdate, true, false),
            166 => of(Act::Insert, false, true),
            167 => of(Act::Update, false, true),
            168 => of(Act::Delete, false, true),
            169 => of(Act::Insert, true, true),
            170 => of(Act::Update, true, true),
            171 => of(Act::Delete, true, true),
            _ => None,
        }
    }

    /// Kinds that carry no change: frames, positions, and values for a statement that follows.
    pub fn is_harmless(kind: u8) -> bool {
        matches!(
            kind,
            STOP | ROTATE
                | INTVAR
                | APPEND_BLOCK
                | DELETE_FILE
                | RAND
                | USER_VAR
                | FORMAT_DESCRIPTION
                | BEGIN_LOAD_QUERY
                | HEARTBEAT
                | IGNORABLE
                | ROWS_QUERY
                | PREVIOUS_GTIDS
                | TRANSACTION_CONTEXT
                | VIEW_CHANGE
                | HEARTBEAT_2
                | ANNOTATE_ROWS
                | BINLOG_CHECKPOINT
                | GTID_LIST
                | START_ENCRYPTION
        )
    }

    /// Kinds that a server may send again from the head of a file, when it begins in the middle of it.
    pub fn is_head_of_file(kind: u8) -> bool {
        matches!(
            kind,
            FORMAT_DESCRIPTION | PREVIOUS_GTIDS | GTID_LIST | START_ENCRYPTION
        )
    }

    /// Kinds that MySQL puts into a compressed transaction.
    pub fn may_be_compressed(kind: u8) -> bool {
        matches!(
            kind,
            QUERY | INTVAR | RAND | USER_VAR | XID | TABLE_MAP | ROWS_QUERY | XA_PREPARE | IGNORABLE
        ) || rows(kind).is_some()
    }
}
