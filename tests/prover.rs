//! The loop of the data proof over servers that are played: what is tried again, for how long, and what must not count.

#![expect(clippy::unwrap_used, reason = "a test that stops says where")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bleen::domain::position::{FilePosition, GtidList, Position};
use bleen::domain::proof::bracket::Reading;
use bleen::domain::proof::key::Key;
use bleen::domain::proof::ledger::{Change, ItemRead, NotProvable};
use bleen::domain::proof::ranges::Bounds;
use bleen::domain::proof::stream::Brought;
use bleen::domain::proof::touches::Item;
use bleen::domain::proof::transaction::{Origin, Positions, Shown, Start, TableName, Transaction};
use bleen::engine::event::{Difference, Events};
use bleen::engine::proof::ports::{
    Asking, BothRead, BothRows, Catalogue, Lane, Listed, Stream, Streams, Trouble, TroubleKind,
};
use bleen::engine::proof::prover::{Ended, Options, Prover};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Longest time for anything here.
const SOON: Duration = Duration::from_secs(30);

fn name(table: &str) -> TableName {
    TableName {
        schema: "shop".into(),
        table: table.into(),
    }
}

fn place(offset: u64) -> FilePosition {
    FilePosition {
        file: "b.000001".into(),
        offset,
    }
}

fn list(number: u64) -> Position {
    Position::GtidList(GtidList::parse(&format!("0-1-{number}")).unwrap())
}

fn trouble(kind: TroubleKind) -> Trouble {
    Trouble {
        kind,
        why: "it is played so".into(),
    }
}

type Reads = Box<dyn FnMut(&TableName, &Bounds) -> Result<(), Trouble> + Send>;

/// Both servers, whose binlog and positions stand at the same number.
#[derive(Clone)]
struct World {
    at: Arc<watch::Sender<u64>>,
    stream: mpsc::Sender<Brought>,
    /// What comes of reading a range.
    range: Arc<Mutex<Reads>>,
    /// Keys at which ranges can be cut, one for each time.
    cuts: Arc<Mutex<Vec<Key>>>,
    /// What happens when the next check begins, before its positions are told.
    at_begin: Arc<Mutex<Option<Change>>>,
    /// How often the definitions were read, and whether they may be.
    catalogue: Arc<watch::Sender<(usize, bool)>>,
    listed: Arc<Mutex<Vec<(TableName, Listed)>>>,
}

impl World {
    fn new(stream: mpsc::Sender<Brought>, range: Reads) -> Self {
        Self {
            at: Arc::new(watch::Sender::new(0)),
            stream,
            range: Arc::new(Mutex::new(range)),
            cuts: Arc::default(),
            at_begin: Arc::default(),
            catalogue: Arc::new(watch::Sender::new((0, true))),
            listed: Arc::default(),
        }
    }

    async fn bring(&self, change: Change) {
        let number = *self.at.borrow() + 1;
        let transaction = Transaction {
            origin: Origin::Domain(0),
            number,
            end: place(number),
        };
        self.stream
            .send(Brought::Transaction(transaction, vec![change]))
            .await
            .unwrap();
        self.at.send_replace(number);
    }
}

impl Lane for World {
    fn begin(&mut self) -> Asking<'_, Positions> {
        Box::pin(async move {
            let change = self.at_begin.lock().unwrap().take();
            if let Some(change) = change {
                let reads = self.catalogue.borrow().0;
                self.bring(change).await;
                // The definitions are read once more for it, and once more after that: what was read first is in force.
                let mut catalogue = self.catalogue.subscribe();
                catalogue.wait_for(|now| now.0 > reads).await.unwrap();
                self.bring(Change::Schema("other".into())).await;
                catalogue.wait_for(|now| now.0 > reads + 1).await.unwrap();
            }
            let at = *self.at.borrow();
            Ok(Positions {
                blue: Shown::Exactly(Position::File(place(at))),
                green: Shown::Exactly(list(at)),
            })
        })
    }

    fn range<'a>(&'a mut self, table: &'a TableName, bounds: &'a Bounds) -> Asking<'a, BothRead> {
        Box::pin(async move {
            (self.range.lock().unwrap())(table, bounds)?;
            let reading = Reading {
                rows: 1,
                digested: 1,
                digest: [7; 32],
            };
            Ok(BothRead {
                blue: reading.clone(),
                green: reading,
                took: Duration::from_millis(1),
            })
        })
    }

    fn rows<'a>(&'a mut self, _: &'a TableName, _: &'a Bounds) -> Asking<'a, BothRows> {
        Box::pin(async { Err(trouble(TroubleKind::Server)) })
    }

    fn items<'a>(&'a mut self, _: &'a TableName, _: &'a [Arc<Item>]) -> Asking<'a, Vec<ItemRead>> {
        Box::pin(async { Err(trouble(TroubleKind::Server)) })
    }

    fn after(&mut self) -> Asking<'_, FilePosition> {
        Box::pin(async move { Ok(place(*self.at.borrow())) })
    }

    fn cut<'a>(&'a mut self, _: &'a TableName, _: &'a Bounds, _: u64) -> Asking<'a, Option<Key>> {
        Box::pin(async move { Ok(self.cuts.lock().unwrap().pop()) })
    }

    fn describe<'a>(&'a mut self, _: &'a TableName, _: &'a [Key]) -> Asking<'a, Vec<(Key, Difference)>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn revive(&mut self) -> Asking<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl Catalogue for World {
    fn read(&mut self, which: Option<BTreeSet<TableName>>) -> Asking<'_, Vec<(TableName, Listed)>> {
        Box::pin(async move {
            self.catalogue.send_modify(|catalogue| catalogue.0 += 1);
            self.catalogue
                .subscribe()
                .wait_for(|catalogue| catalogue.1)
                .await
                .unwrap();
            let listed = self.listed.lock().unwrap().clone();
            let wanted = |name: &TableName| which.as_ref().is_none_or(|which| which.contains(name));
            Ok(listed.into_iter().filter(|(name, _)| wanted(name)).collect())
        })
    }
}

impl Streams for World {
    fn open(&mut self) -> Asking<'_, Stream> {
        Box::pin(async { Err(trouble(TroubleKind::Server)) })
    }
}

fn provable(table: &str, has_key: bool) -> (TableName, Listed) {
    (
        name(table),
        Listed::Provable {
            has_key,
            is_new: false,
        },
    )
}

/// A proof of these tables that runs once over everything.
fn proof(tables: &[(&str, bool)], range: Reads) -> (World, Arc<Prover>, impl Future<Output = Ended> + use<>) {
    let (sender, brought) = mpsc::channel(9);
    let world = World::new(sender, range);
    let tables: Vec<_> = tables
        .iter()
        .map(|(table, has_key)| provable(table, *has_key))
        .collect();
    *world.listed.lock().unwrap() = tables.clone();
    let stream = Stream {
        start: Start {
            executed: list(0),
            place: place(0),
        },
        brought,
        reader: Box::new(()),
    };
    let options = Options {
        once: true,
        ..Options::default()
    };
    let prover = Arc::new(Prover::new(&stream, tables, options, &Events::stream().0));
    let (running, plays) = (Arc::clone(&prover), world.clone());
    let run = async move {
        let lanes: Vec<Box<dyn Lane>> = vec![Box::new(plays.clone())];
        let (mut streams, mut catalogue) = (plays.clone(), plays);
        let ended = running.run(stream, &mut streams, &mut catalogue, lanes);
        timeout(SOON, ended).await.unwrap()
    };
    (world, prover, run)
}

#[tokio::test]
async fn what_takes_too_long_is_not_tried_for_ever() {
    let tried: Arc<[AtomicUsize; 2]> = Arc::default();
    let counted = Arc::clone(&tried);
    let range = move |table: &TableName, _: &Bounds| {
        counted[usize::from(table.table == "keyless")].fetch_add(1, Ordering::Relaxed);
        Err(trouble(TroubleKind::TooSlow))
    };
    let (_world, prover, run) = proof(&[("keyed", true), ("keyless", false)], Box::new(range));
    assert_eq!(run.await, Ended::Complete);
    let not = prover.progress().summary.not_provable;
    assert_eq!(not.len(), 2, "{not:?}");
    assert!(
        matches!(&not[0].1, NotProvable::NotRead(why) if why.contains("takes too long")),
        "{not:?}"
    );
    assert!(
        matches!(&not[1].1, NotProvable::NoKey(why) if why.contains("give it a primary key")),
        "{not:?}"
    );
    let tried = [0, 1].map(|at| tried[at].load(Ordering::Relaxed));
    assert_eq!(tried, [5, 2]);
}

#[tokio::test]
async fn troubles_with_a_table_are_counted_until_it_can_be_read() {
    for (troubles, is_provable) in [(4, true), (5, false)] {
        let tried = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tried);
        let range = move |_: &TableName, _: &Bounds| match counted.fetch_add(1, Ordering::Relaxed) {
            tried if tried < troubles => Err(trouble(TroubleKind::Table)),
            _ => Ok(()),
        };
        let (_world, prover, run) = proof(&[("a", true)], Box::new(range));
        assert_eq!(run.await, Ended::Complete);
        let sum = prover.progress().summary;
        assert_eq!(
            (sum.proved, sum.not_provable.len()),
            (usize::from(is_provable), usize::from(!is_provable))
        );
        assert_eq!(tried.load(Ordering::Relaxed), 5);
    }
}

#[tokio::test]
async fn a_range_of_a_table_that_began_anew_is_not_taken_for_the_whole_of_it() {
    let asked: Arc<Mutex<Vec<Bounds>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let range = move |_: &TableName, bounds: &Bounds| {
        seen.lock().unwrap().push(bounds.clone());
        Ok(())
    };
    let (world, prover, run) = proof(&[("a", true)], Box::new(range));
    // It is cut, and then has a new definition: its first range, of the same number, is all of it again.
    *world.cuts.lock().unwrap() = vec![5.into()];
    *world.at_begin.lock().unwrap() = Some(Change::Table(name("a")));
    assert_eq!(run.await, Ended::Complete);
    let asked = asked.lock().unwrap().clone();
    assert!(
        asked.iter().all(|bounds| *bounds == Bounds::default()),
        "{asked:?}"
    );
    assert_eq!(prover.progress().summary.proved, 1);
}

#[tokio::test]
async fn nothing_is_complete_and_no_hold_begins_while_definitions_are_read() {
    let (world, prover, run) = proof(&[("a", true)], Box::new(|_, _| Ok(())));
    // Something happens in a schema of which nothing is known: definitions are read, and that takes a while.
    world.catalogue.send_modify(|catalogue| catalogue.1 = false);
    world.bring(Change::Schema("new".into())).await;
    let watching = async {
        let mut catalogue = world.catalogue.subscribe();
        catalogue.wait_for(|catalogue| catalogue.0 > 0).await.unwrap();
        while prover.progress().summary.proved == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!prover.was_everywhere());
        assert!(!prover.rest("a hold", Duration::from_millis(50)).await);
        prover.go_on();
        let left = prover.left_at_the_fence(&place(1), |_| false, SOON).await;
        assert!(left.unwrap_err().contains("definition"));
        world.listed.lock().unwrap().push(provable("b", true));
        world.catalogue.send_modify(|catalogue| catalogue.1 = true);
    };
    let (ended, ()) = tokio::join!(run, watching);
    assert_eq!(ended, Ended::Complete);
    assert_eq!(prover.progress().summary.proved, 2, "the new table, too");
    assert!(prover.was_everywhere());
    assert!(prover.rest("a hold", SOON).await);
}
