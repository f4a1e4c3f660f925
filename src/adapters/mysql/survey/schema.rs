//! Reads tables and their parts from `information_schema`, with the columns that this version's views have.

use std::collections::{BTreeMap, BTreeSet};

use super::{NOT_COMPARED, Surveyor, number, optional, text};
use crate::adapters::mysql::error::ServerError;
use crate::domain::guardrails::Known;
use crate::domain::guardrails::facts::{ColumnFact, IndexPart, Schema, TableFact};
use crate::domain::server::Family;

/// How servers mark a temporal type in an old format (seen on 5.6.24 and 10.11.18).
const OLD_TEMPORALS: [&str; 2] = [" /* 5.5 binary format */", " /* mariadb-5.3 */"];

/// Schema and table.
pub(super) type TableKey = (String, String);
/// Tables while they are put together.
pub(super) type Tables = BTreeMap<TableKey, TableFact>;

impl Surveyor {
    pub(super) async fn schema(&mut self) -> Known<Schema> {
        match self.lacks(&["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"]) {
            Some(why) => Known::Unknown(why),
            None => self.read_schema().await.into(),
        }
    }

    async fn read_schema(&mut self) -> Result<Schema, ServerError> {
        if self.caps.version.is_mysql_from((8, 0, 0)) {
            // Else the next generated key may be a day old.
            let fresh = "SET SESSION information_schema_stats_expiry = 0";
            self.session
                .run("ask for fresh statistics", fresh, self.budget)
                .await?;
        }
        let there = self.columns_of_views().await?;
        let mut tables = self.tables().await?;
        self.columns(&mut tables, &there).await?;
        self.indexes(&mut tables, &there).await?;
        self.foreign_keys(&mut tables).await?;
        self.checks(&mut tables, &there).await?;
        self.partitions(&mut tables).await?;
        Ok(Schema {
            schemas: self.schemas().await?,
            tables: tables.into_values().collect(),
            views: self.views().await?,
            routines: self.routines().await?,
            triggers: self.triggers().await?,
            events: self.scheduled().await?,
        })
    }

    /// Which columns the views of this version have: `STATISTICS.EXPRESSION`.
    async fn columns_of_views(&mut self) -> Result<BTreeSet<String>, ServerError> {
        let sql = "SELECT UPPER(CONCAT(TABLE_NAME, '.', COLUMN_NAME)) FROM information_schema.COLUMNS \
                   WHERE TABLE_SCHEMA = 'information_schema' \
                   AND TABLE_NAME IN ('COLUMNS', 'STATISTICS', 'CHECK_CONSTRAINTS')";
        let rows = self.ask("see what information_schema shows", sql).await?;
        Ok(rows.iter().map(|row| text(row, 0)).collect())
    }

    async fn schemas(&mut self) -> Result<BTreeMap<String, (String, String)>, ServerError> {
        let sql = format!(
            "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME \
             FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {NOT_COMPARED}"
        );
        let rows = self.ask("list the schemas", &sql).await?;
        Ok(rows
            .iter()
            .map(|row| (text(row, 0), (text(row, 1), text(row, 2))))
            .collect())
    }

    async fn tables(&mut self) -> Result<Tables, ServerError> {
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION, ROW_FORMAT, TABLE_ROWS, \
             COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0), AUTO_INCREMENT FROM information_schema.TABLES \
             WHERE TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW', 'TEMPORARY', 'TEMPORARY SEQUENCE') \
             AND TABLE_SCHEMA NOT IN {NOT_COMPARED}"
        );
        let rows = self.ask("list the tables", &sql).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let table = TableFact {
                    schema: text(row, 0),
                    name: text(row, 1),
                    kind: text(row, 2),
                    engine: text(row, 3),
                    collation: text(row, 4),
                    row_format: text(row, 5),
                    rows: number(row, 6).unwrap_or(0),
                    bytes: number(row, 7).unwrap_or(0),
                    auto_increment: number(row, 8),
                    ..TableFact::default()
                };
                ((table.schema.clone(), table.name.clone()), table)
            })
            .collect())
    }

    async fn columns(&mut self, tables: &mut Tables, there: &BTreeSet<String>) -> Result<(), ServerError> {
        let generated = if there.contains("COLUMNS.GENERATION_EXPRESSION") {
            "GENERATION_EXPRESSION"
        } else {
            "''"
        };
        // 5.6 and 5.7 say which columns still have the format of 5.5 only when they are told to; others do not know
        // the setting.
        let show_old = "SET SESSION show_old_temporals = 1";
        drop(
            self.session
                .run("ask for old formats", show_old, self.budget)
                .await,
        );
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, \
             COLLATION_NAME, {generated} FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA NOT IN {NOT_COMPARED} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
        );
        for row in self.ask("list the columns", &sql).await? {
            let Some(table) = tables.get_mut(&(text(&row, 0), text(&row, 1))) else {
                continue;
            };
            let whole_type = text(&row, 3);
            let plain_type = OLD_TEMPORALS
                .iter()
                .find_map(|comment| whole_type.strip_suffix(comment));
            table.columns.push(ColumnFact {
                name: text(&row, 2),
                old_temporal: plain_type.is_some(),
                column_type: plain_type.unwrap_or(&whole_type).to_owned(),
                nullable: text(&row, 4) == "YES",
                default: optional(&row, 5),
                extra: text(&row, 6),
                collation: optional(&row, 7),
                generated: text(&row, 8),
            });
        }
        Ok(())
    }

    async fn indexes(&mut self, tables: &mut Tables, there: &BTreeSet<String>) -> Result<(), ServerError> {
        let expression = if there.contains("STATISTICS.EXPRESSION") {
            "EXPRESSION"
        } else {
            "NULL"
        };
        let invisible = if there.contains("STATISTICS.IS_VISIBLE") {
            "IS_VISIBLE = 'NO'"
        } else if there.contains("STATISTICS.IGNORED") {
            "IGNORED = 'YES'"
        } else {
            "0"
        };
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, INDEX_TYPE, COLUMN_NAME, {expression}, SUB_PART, \
             COLLATION, {invisible} FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN {NOT_COMPARED} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
        );
        for row in self.ask("list the indexes", &sql).await? {
            let Some(table) = tables.get_mut(&(text(&row, 0), text(&row, 1))) else {
                continue;
            };
            let index = table.indexes.entry(text(&row, 2)).or_default();
            index.unique = text(&row, 3) == "0";
            index.kind = text(&row, 4);
            index.invisible = text(&row, 9) == "1";
            // Whole-column parts of spatial indexes show a length that is none.
            let prefix = number(&row, 7).filter(|_| index.kind != "SPATIAL");
            index.parts.push(IndexPart {
                column: optional(&row, 5),
                expression: optional(&row, 6),
                prefix,
                descending: text(&row, 8) == "D",
            });
        }
        Ok(())
    }

    async fn foreign_keys(&mut self, tables: &mut Tables) -> Result<(), ServerError> {
        let doing = "list the foreign keys";
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, \
             REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
             WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA NOT IN {NOT_COMPARED} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
        );
        for row in self.ask(doing, &sql).await? {
            let Some(table) = tables.get_mut(&(text(&row, 0), text(&row, 1))) else {
                continue;
            };
            let key = table.foreign_keys.entry(text(&row, 2)).or_default();
            key.columns.push(text(&row, 3));
            key.target = format!("{}.{}", text(&row, 4), text(&row, 5));
            key.target_columns.push(text(&row, 6));
        }
        let rules = format!(
            "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE \
             FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA NOT IN {NOT_COMPARED}"
        );
        for row in self.ask(doing, &rules).await? {
            let table = tables.get_mut(&(text(&row, 0), text(&row, 1)));
            if let Some(key) = table.and_then(|t| t.foreign_keys.get_mut(&text(&row, 2))) {
                key.on_update = text(&row, 3);
                key.on_delete = text(&row, 4);
            }
        }
        Ok(())
    }

    async fn checks(&mut self, tables: &mut Tables, there: &BTreeSet<String>) -> Result<(), ServerError> {
        let sql = if there.contains("CHECK_CONSTRAINTS.TABLE_NAME") {
            format!(
                "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE \
                 FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA NOT IN {NOT_COMPARED}"
            )
        } else if there.contains("CHECK_CONSTRAINTS.CHECK_CLAUSE") && self.caps.family() == Family::MySql {
            format!(
                "SELECT c.CONSTRAINT_SCHEMA, t.TABLE_NAME, c.CONSTRAINT_NAME, c.CHECK_CLAUSE \
                 FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t \
                 ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME \
                 AND t.CONSTRAINT_TYPE = 'CHECK' \
                 WHERE c.CONSTRAINT_SCHEMA NOT IN {NOT_COMPARED} AND t.ENFORCED = 'YES'"
            )
        } else {
            return Ok(());
        };
        for row in self.ask("list the checks", &sql).await? {
            if let Some(table) = tables.get_mut(&(text(&row, 0), text(&row, 1))) {
                table.checks.push((text(&row, 2), text(&row, 3)));
            }
        }
        Ok(())
    }

    async fn partitions(&mut self, tables: &mut Tables) -> Result<(), ServerError> {
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, PARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, \
             PARTITION_DESCRIPTION, SUBPARTITION_METHOD, SUBPARTITION_EXPRESSION \
             FROM information_schema.PARTITIONS WHERE PARTITION_NAME IS NOT NULL AND TABLE_SCHEMA NOT IN {NOT_COMPARED} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION"
        );
        for row in self.ask("list the partitions", &sql).await? {
            if let Some(table) = tables.get_mut(&(text(&row, 0), text(&row, 1))) {
                let parts: Vec<String> = (2..8).map(|at| text(&row, at)).collect();
                table.partitions.push(parts.join(" | "));
            }
        }
        Ok(())
    }
}
