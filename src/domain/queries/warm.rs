//! When green's buffer pool has seen enough: reads from disk per replayed statement no longer fall.

use serde::{Deserialize, Serialize};

/// One round over all statements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// How many statements were replayed.
    pub statements: u64,
    /// How many pages green read from disk meanwhile.
    pub disk_reads: u64,
}

impl Round {
    /// Reads from disk per statement.
    #[must_use]
    pub fn per_statement(&self) -> f64 {
        // Counts of a round are far below 2^53.
        self.disk_reads as f64 / (self.statements.max(1)) as f64
    }
}

/// Up to this many reads per statement are taken for none: replication reads pages, too.
const NONE: f64 = 0.1;

/// Rounds that are this close to each other, of the largest, are taken for equal.
const CLOSE: f64 = 0.1;

/// How many rounds are compared.
const ROUNDS: usize = 3;

/// Whether the reads have gone flat: the last round needed next to none, or the last three rounds needed the same.
#[must_use]
pub fn is_flat(rounds: &[Round]) -> bool {
    let Some(last) = rounds.last() else { return false };
    // A single round proves nothing: it may have been short.
    if rounds.len() > 1 && last.per_statement() <= NONE {
        return true;
    }
    let Some(newest) = rounds
        .len()
        .checked_sub(ROUNDS)
        .and_then(|from| rounds.get(from..))
    else {
        return false;
    };
    let most = newest.iter().map(Round::per_statement).fold(0.0, f64::max);
    let least = newest
        .iter()
        .map(Round::per_statement)
        .fold(f64::INFINITY, f64::min);
    most - least <= CLOSE * most
}

/// How warming came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warmed {
    /// The rounds, oldest first.
    pub rounds: Vec<Round>,
    /// Whether the reads went flat before the time was over.
    pub is_flat: bool,
    /// How many statements could be replayed.
    pub statements: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(reads: &[u64]) -> bool {
        let rounds: Vec<Round> = reads
            .iter()
            .map(|reads| Round {
                statements: 100,
                disk_reads: *reads,
            })
            .collect();
        is_flat(&rounds)
    }

    #[test]
    fn falling_reads_are_not_flat() {
        assert!(!flat(&[]));
        assert!(!flat(&[0]));
        assert!(!flat(&[9_000, 4_000]));
        assert!(!flat(&[9_000, 4_000, 2_000, 1_000]));
        assert!(flat(&[9_000, 5]));
        // The working set does not fit: it will never be better than that.
        assert!(flat(&[9_000, 2_000, 1_950, 2_050]));
        assert!(!flat(&[2_000, 1_950, 2_050, 1_000]));
        // No division by nothing.
        assert!(is_flat(
            &[Round {
                statements: 0,
                disk_reads: 0
            }; 2]
        ));
    }
}
