//! Writers at random: what was brought covers every difference between two readings of the tables, and nothing that nobody
//! wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bleen::domain::position::{GtidSet, Position};
use bleen::domain::proof::key::{Key, KeyPart};
use bleen::domain::proof::ledger::Change;
use bleen::domain::proof::transaction::Origin;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::world::{World, named, root, short};

const TABLES: &[&str] = &["plain", "texts", "parent", "child"];
const LENGTH: Duration = Duration::from_secs(4);

/// Numbers that look like chance, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

type Touched = BTreeSet<(&'static str, Key)>;

fn number(n: u64) -> KeyPart {
    KeyPart::Integer(n.into())
}

/// One change, and the keys that it may touch.
fn change(dice: &mut Dice, touched: &mut Touched) -> String {
    let (id, other, v) = (dice.below(300), dice.below(300), dice.below(1000));
    let one = |id| Key(vec![number(id)]);
    let text = ["a", "b ", "é", "", "A"][usize::try_from(dice.below(5)).unwrap()];
    match dice.below(12) {
        0 | 1 => {
            touched.insert(("plain", one(id)));
            format!("INSERT INTO plain VALUES ({v}, {id})")
        }
        2 => {
            touched.insert(("plain", one(id)));
            format!("UPDATE plain SET v = {v} WHERE id = {id}")
        }
        3 => {
            touched.extend([("plain", one(id)), ("plain", one(other))]);
            format!("UPDATE plain SET id = {other} WHERE id = {id}")
        }
        4 => {
            touched.insert(("plain", one(id)));
            format!("DELETE FROM plain WHERE id = {id}")
        }
        5 | 6 => {
            // Whichever of the texts that the key takes for the same is there.
            for text in ["a", "b ", "é", "", "A"] {
                let key = Key(vec![number(id), KeyPart::Text(text.as_bytes().to_vec())]);
                touched.insert(("texts", key));
            }
            format!("REPLACE INTO texts VALUES ('{text}', {v}, {id})")
        }
        7 => {
            touched.insert(("parent", one(id)));
            format!("INSERT INTO parent VALUES ({id}, {v})")
        }
        8 => {
            touched.extend([("parent", one(id)), ("parent", one(other))]);
            format!("UPDATE parent SET id = {other} WHERE id = {id}")
        }
        9 => {
            touched.insert(("parent", one(id)));
            format!("DELETE FROM parent WHERE id = {id}")
        }
        _ => {
            let child = dice.below(2000);
            touched.insert(("child", one(child)));
            format!("REPLACE INTO child VALUES ({child}, {id}, {v})")
        }
    }
}

async fn write(mut own: Conn, seed: u64) -> Touched {
    let mut dice = Dice(seed);
    let mut touched = Touched::new();
    let begun = Instant::now();
    while begun.elapsed() < LENGTH {
        // A statement may be refused: by a key, by a foreign key, by a deadlock.
        let changes = 1 + dice.below(4);
        if changes > 1 {
            own.query_drop("BEGIN").await.unwrap();
        }
        for _ in 0..changes {
            let sql = change(&mut dice, &mut touched);
            drop(own.query_drop(sql).await);
        }
        let end = if dice.below(5) == 0 { "ROLLBACK" } else { "COMMIT" };
        own.query_drop(end).await.unwrap();
    }
    touched
}

/// Which parent every child has.
async fn parents(world: &mut World) -> BTreeMap<Key, Key> {
    let rows: Vec<(i64, i64)> = world.own.query("SELECT id, parent FROM child").await.unwrap();
    rows.into_iter()
        .map(|(id, parent)| (Key::from(i128::from(id)), Key::from(i128::from(parent))))
        .collect()
}

pub async fn differential(world: &mut World) {
    world
        .all(&[
            "CREATE TABLE plain (v INT, id INT PRIMARY KEY) ENGINE=InnoDB",
            "CREATE TABLE texts (k VARCHAR(10) CHARACTER SET utf8mb4, v INT, id INT, PRIMARY KEY (id, k)) ENGINE=InnoDB",
            "CREATE TABLE parent (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE child (id INT PRIMARY KEY, parent INT NOT NULL, v INT, \
             FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB",
        ])
        .await;
    let rows: Vec<String> = (0..150).map(|id| format!("({id}, 0)")).collect();
    world
        .run(&format!("INSERT INTO parent VALUES {}", rows.join(", ")))
        .await;
    world.begin_again(|settings| settings.queue = 1_000_000).await;
    world.read_shapes(TABLES).await;
    let mut before = BTreeMap::new();
    for table in TABLES {
        before.insert(*table, world.rows(table, table).await);
    }
    let parents_before = parents(world).await;
    let mut writers = Vec::new();
    for seed in 0..5 {
        writers.push(tokio::spawn(write(root(&world.server).await, 1000 + seed)));
    }
    let mut written = Touched::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    let steps = world.brought().await;
    assert!(steps.len() > 100, "{} transactions", steps.len());
    let parents_after = parents(world).await;

    let mut brought: BTreeSet<(&str, Key)> = BTreeSet::new();
    let mut cascades: BTreeSet<Key> = BTreeSet::new();
    for change in steps.iter().flat_map(|(_, changes)| changes) {
        match change {
            Change::Row { table, before, after } => {
                let table = TABLES.iter().find(|name| named(name) == *table).unwrap();
                brought.extend(before.iter().chain(after).map(|key| (*table, key.clone())));
            }
            Change::Cascade { child, values, .. } if *child == named("child") => {
                cascades.extend(values.iter().cloned());
            }
            other => panic!("{}: {}", world.caps.version, short(other)),
        }
    }
    let mut differ = 0;
    for table in TABLES {
        let (before, after) = (&before[table], world.rows(table, table).await);
        let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
        for key in keys.into_iter().filter(|key| before.get(key) != after.get(key)) {
            differ += 1;
            let by_cascade = *table == "child"
                && [&parents_before, &parents_after]
                    .iter()
                    .any(|of| of.get(key).is_some_and(|parent| cascades.contains(parent)));
            assert!(
                brought.contains(&(*table, key.clone())) || by_cascade,
                "{}: {table} {key} differs, and nothing says so",
                world.caps.version
            );
        }
    }
    assert!(differ > 200, "{differ} rows differ");
    let is_written = world.is_mysql_from((9, 6, 0));
    for (table, key) in &brought {
        // Where foreign keys are carried out by statements, they write children of which nobody spoke.
        let known = written.iter().any(|(name, own)| name == table && own == key);
        assert!(
            known || is_written && *table == "child",
            "{}: nobody wrote {table} {key}",
            world.caps.version
        );
    }
    if !is_written {
        assert!(!cascades.is_empty());
    }

    // Every number is there once, or was executed before.
    let sql = if world.is_mysql() {
        "SELECT @@GLOBAL.gtid_executed"
    } else {
        "SELECT @@GLOBAL.gtid_binlog_pos"
    };
    let executed: String = world.own.query_first(sql).await.unwrap().unwrap();
    match &world.begun.executed {
        Position::GtidSet(begun) => {
            let mut all = begun.clone();
            for (one, _) in &steps {
                let Origin::Server { uuid, .. } = &one.origin else {
                    panic!("{one:?}")
                };
                all = all.union(&GtidSet::parse(&format!("{uuid}:{}", one.number)).unwrap());
            }
            assert_eq!(all, GtidSet::parse(&executed).unwrap());
        }
        Position::GtidList(begun) => {
            let numbers: Vec<u64> = steps.iter().map(|(one, _)| one.number).collect();
            let first = begun.sequence(0) + 1;
            let last: u64 = executed.rsplit('-').next().unwrap().parse().unwrap();
            assert_eq!(numbers, (first..=last).collect::<Vec<_>>());
        }
        other => panic!("{other:?}"),
    }
}
