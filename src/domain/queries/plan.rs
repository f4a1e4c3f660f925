//! How a server goes about a statement, in one form for both families and all versions, and what changed between two.

use serde::{Deserialize, Serialize};

use super::plan_tree::Tree;

/// One table, in the order in which tables are joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableAccess {
    /// The name that the statement has for it.
    pub table: String,
    /// `ALL` (every row), `index`, `range`, `ref`, `eq_ref`, `const` and so on.
    pub access: String,
    /// The index; `None` without one.
    pub key: Option<String>,
    /// The power of ten of the rows that the server expects to read each time: 3 for 1000 to 9999.
    pub magnitude: u32,
}

/// A plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The tables in join order; those of subqueries where the server lists them.
    pub tables: Vec<TableAccess>,
    /// Rows are put into a temporary table.
    pub temporary: bool,
    /// Rows are sorted.
    pub filesort: bool,
}

impl Plan {
    /// Reads what `EXPLAIN FORMAT=JSON` answers.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn read(json: &str) -> Result<Self, String> {
        let tree: Tree = serde_json::from_str(json).map_err(|why| format!("the plan is no JSON: {why}"))?;
        let mut plan = Self::default();
        plan.walk(&tree);
        Ok(plan)
    }

    fn walk(&mut self, tree: &Tree) {
        match tree {
            Tree::Items(items) => items.iter().for_each(|item| self.walk(item)),
            Tree::Fields(fields) => {
                if let (Some(table), Some(access)) = (
                    tree.get("table_name").and_then(Tree::text),
                    tree.get("access_type").and_then(Tree::text),
                ) {
                    let rows = ["rows_examined_per_scan", "rows", "rows_produced_per_join"];
                    let rows = rows.iter().find_map(|name| tree.get(name).and_then(Tree::number));
                    self.tables.push(TableAccess {
                        table: table.to_owned(),
                        access: access.to_owned(),
                        key: tree.get("key").and_then(Tree::text).map(ToOwned::to_owned),
                        magnitude: magnitude(rows.unwrap_or(1.0)),
                    });
                }
                for (name, value) in fields {
                    let holds = !matches!(value, Tree::Bool(false) | Tree::Null);
                    match name.as_str() {
                        "using_filesort" | "filesort" => self.filesort |= holds,
                        "using_temporary_table" | "temporary_table" => self.temporary |= holds,
                        // Costs and conditions are texts that only look like plans.
                        "cost_info" => continue,
                        _ => {}
                    }
                    self.walk(value);
                }
            }
            _ => {}
        }
    }

    /// What another plan of the same statement does otherwise, in words; nothing where it goes the same way.
    ///
    /// Estimates within a factor of ten are the same: the two sides sampled their statistics by themselves.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (at, (before, after)) in self.paired(other).into_iter().enumerate() {
            match (before, after) {
                (Some(before), Some(after)) => {
                    let rows = before.magnitude.abs_diff(after.magnitude) > 1;
                    if before.access != after.access || before.key != after.key {
                        found.push(format!(
                            "{}: {} became {}",
                            before.table,
                            before.words(),
                            after.words()
                        ));
                    } else if rows {
                        found.push(format!(
                            "{}: {} expects {} rows instead of {}",
                            before.table,
                            after.words(),
                            power(after.magnitude),
                            power(before.magnitude)
                        ));
                    }
                }
                (Some(before), None) => found.push(format!(
                    "{} is no longer read as a table of its own",
                    before.table
                )),
                (None, Some(after)) => {
                    found.push(format!("{} is read by {} as well", after.table, after.words()))
                }
                (None, None) => {}
            }
            // A statement over a hundred tables would fill the screen.
            if at > MOST_CHANGES {
                break;
            }
        }
        let order = |plan: &Self| plan.tables.iter().map(|t| t.table.clone()).collect::<Vec<_>>();
        let (before, after) = (order(self), order(other));
        if before != after && sorted(before.clone()) == sorted(after.clone()) {
            found.push(format!(
                "tables are joined as {} instead of {}",
                after.join(", "),
                before.join(", ")
            ));
        }
        for (what, before, after) in [
            ("a temporary table", self.temporary, other.temporary),
            ("a sort of its own", self.filesort, other.filesort),
        ] {
            match (before, after) {
                (false, true) => found.push(format!("{what} came in")),
                (true, false) => found.push(format!("{what} is gone")),
                _ => {}
            }
        }
        found
    }

    /// The tables of both plans side by side, by name.
    fn paired<'a>(&'a self, other: &'a Self) -> Vec<(Option<&'a TableAccess>, Option<&'a TableAccess>)> {
        let mut rest: Vec<&TableAccess> = other.tables.iter().collect();
        let mut pairs = Vec::new();
        for before in &self.tables {
            let same = rest.iter().position(|after| after.table == before.table);
            pairs.push((Some(before), same.map(|at| rest.remove(at))));
        }
        pairs.extend(rest.into_iter().map(|after| (None, Some(after))));
        pairs
    }
}

const MOST_CHANGES: usize = 10;

impl TableAccess {
    fn words(&self) -> String {
        let way = match self.access.as_str() {
            "ALL" => "a full scan",
            "index" => "a scan of a whole index",
            other => other,
        };
        match &self.key {
            Some(key) => format!("{way} on {key}"),
            None => way.to_owned(),
        }
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn magnitude(rows: f64) -> u32 {
    if rows.is_finite() && rows >= 1.0 {
        // At most 308.
        rows.log10().floor() as u32
    } else {
        0
    }
}

fn power(magnitude: u32) -> String {
    match magnitude {
        0 => "a few".to_owned(),
        1..=6 => format!("some {}", 10_u64.pow(magnitude)),
        _ => format!("some 10^{magnitude}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(table: &str, access: &str, key: Option<&str>, magnitude: u32) -> TableAccess {
        TableAccess {
            table: table.into(),
            access: access.into(),
            key: key.map(Into::into),
            magnitude,
        }
    }

    /// As MySQL 9.7 writes it with `explain_json_format_version = 1`.
    const MYSQL: &str = r#"{"query_block": {"select_id": 1, "cost_info": {"query_cost": "1.2"}, "ordering_operation": {
        "using_temporary_table": true, "using_filesort": true, "nested_loop": [
        {"table": {"table_name": "orders", "access_type": "ref", "key": "by_customer", "rows_examined_per_scan": 12,
                   "attached_condition": "x"}},
        {"table": {"table_name": "c", "access_type": "eq_ref", "key": "PRIMARY", "rows_examined_per_scan": 1}}]}}}"#;

    /// As MariaDB 10.6 writes it: one key `table` for each table.
    const MARIADB: &str = r#"{"query_block": {"select_id": 1, "filesort": {"sort_key": "c.n", "temporary_table": {
        "table": {"table_name": "orders", "access_type": "ALL", "rows": 40000, "filtered": 100},
        "table": {"table_name": "c", "access_type": "eq_ref", "key": "PRIMARY", "rows": 1}}}}}"#;

    #[test]
    fn both_families_are_read_into_one_form() {
        let mysql = Plan::read(MYSQL).unwrap();
        assert_eq!(
            mysql,
            Plan {
                tables: vec![
                    table("orders", "ref", Some("by_customer"), 1),
                    table("c", "eq_ref", Some("PRIMARY"), 0),
                ],
                temporary: true,
                filesort: true,
            }
        );
        let mariadb = Plan::read(MARIADB).unwrap();
        assert_eq!(mariadb.tables[0], table("orders", "ALL", None, 4));
        assert_eq!(mariadb.tables[1], mysql.tables[1]);
        assert!(mariadb.temporary && mariadb.filesort);
        assert_eq!(
            mysql.changes(&mariadb),
            ["orders: ref on by_customer became a full scan"]
        );
        assert!(Plan::read("{").is_err());
        assert!(Plan::read(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn estimates_within_a_factor_of_ten_are_the_same() {
        let plan = |magnitude| Plan {
            tables: vec![table("t", "range", Some("k"), magnitude)],
            ..Plan::default()
        };
        assert!(plan(2).changes(&plan(3)).is_empty());
        assert_eq!(
            plan(1).changes(&plan(4)),
            ["t: range on k expects some 10000 rows instead of some 10"]
        );
        assert_eq!(
            (
                magnitude(0.0),
                magnitude(9.9),
                magnitude(10.0),
                magnitude(f64::NAN)
            ),
            (0, 0, 1, 0)
        );
    }

    #[test]
    fn another_join_order_and_another_sort_are_said() {
        let a = table("a", "ALL", None, 3);
        let b = table("b", "ALL", None, 3);
        let one = Plan {
            tables: vec![a.clone(), b.clone()],
            ..Plan::default()
        };
        let other = Plan {
            tables: vec![b, a],
            temporary: true,
            filesort: false,
        };
        assert_eq!(
            one.changes(&other),
            [
                "tables are joined as b, a instead of a, b",
                "a temporary table came in"
            ]
        );
        assert!(one.changes(&one).is_empty());
    }
}
