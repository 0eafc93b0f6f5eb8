//! Query sets: folders of SQL files. `<result>.sql` holds the query of one result.
//!
//! All engines use `<result>.sql`. If an engine needs other SQL, `<result>.<engine>.sql` replaces it for that engine
//! and must return the same columns and rows.

use std::{collections::BTreeMap, fs, path::Path};

use include_dir::{Dir, include_dir};

use crate::AnalyticsError;

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../queries");

/// Maximum size of a query in bytes, checked before parsing because the parser is recursive.
const MAX_QUERY_BYTES: usize = 64 * 1024;
/// Maximum number of queries in a set.
const MAX_QUERIES: usize = 1_000;
/// Maximum length of a result's name in bytes; the name is a key of the results table.
const MAX_NAME_BYTES: usize = 128;

/// The SQL dialect of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dialect {
    /// SQL that all engines understand. DataFusion runs only this.
    Shared,
    /// Amazon Athena (Trino).
    Athena,
    /// Apache Spark.
    Spark,
}

/// The engines with a dialect of their own, by the word in file names.
const ENGINES: [(&str, Dialect); 2] = [("athena", Dialect::Athena), ("spark", Dialect::Spark)];

/// One SQL file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Name of the result.
    pub name: String,
    /// The path of the file, for error messages.
    pub file: String,
    /// One SQL query.
    pub sql: String,
}

/// The queries of one run, in name order. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySet {
    queries: Vec<Query>,
}

impl QuerySet {
    /// The set compiled into the program, the files of `queries/`, in one dialect.
    pub fn embedded(dialect: Dialect) -> Result<QuerySet, AnalyticsError> {
        QuerySet::from_files(dialect, QuerySet::embedded_files())
    }

    /// The files of `queries/` that are compiled into the program, in all dialects: names and texts.
    pub fn embedded_files() -> Vec<(String, String)> {
        let files = EMBEDDED.files().filter_map(|file| {
            let name = file.path().to_str()?;
            Some((format!("queries/{name}"), file.contents_utf8()?.to_owned()))
        });
        files.collect()
    }

    /// Reads the `.sql` files of a folder, in one dialect. Other files and subfolders are ignored.
    ///
    /// # Errors
    /// All errors at once: a folder or file that cannot be read, and those of [`QuerySet::from_files`].
    pub fn from_dir(dialect: Dialect, dir: &Path) -> Result<QuerySet, AnalyticsError> {
        let unreadable = |path: &Path, error: std::io::Error| {
            format!(
                "{}: cannot be read: {error}; give a folder of .sql files, one for each result",
                path.display()
            )
        };
        let entries =
            fs::read_dir(dir).map_err(|error| AnalyticsError::QuerySet(vec![unreadable(dir, error)]))?;
        let mut files = Vec::new();
        let mut errors = Vec::new();
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    errors.push(unreadable(dir, error));
                    continue;
                }
            };
            if !is_sql(&path.to_string_lossy()) || path.is_dir() {
                continue;
            }
            match fs::read_to_string(&path) {
                Ok(sql) => files.push((path.display().to_string(), sql)),
                Err(error) => errors.push(unreadable(&path, error)),
            }
        }
        match QuerySet::from_files(dialect, files) {
            Ok(set) if errors.is_empty() => Ok(set),
            // An empty set is not reported as well if files could not be read.
            Ok(_) => Err(AnalyticsError::QuerySet(errors)),
            Err(AnalyticsError::QuerySet(more)) => {
                errors.extend(more);
                Err(AnalyticsError::QuerySet(errors))
            }
            Err(other) => Err(other),
        }
    }

    /// Builds the set from files, each a name (a path or an object key) and its text, in one dialect. Files whose names
    /// do not end in `.sql` are ignored.
    ///
    /// # Errors
    /// All errors at once, also in the files of other dialects: no queries or too many, an invalid name of a result, an
    /// unknown engine, a file of an engine without a shared one, two files for one result, an empty or too long query.
    pub fn from_files(
        dialect: Dialect,
        files: impl IntoIterator<Item = (String, String)>,
    ) -> Result<QuerySet, AnalyticsError> {
        let mut found: BTreeMap<(String, Dialect), Query> = BTreeMap::new();
        let mut errors = Vec::new();
        for (file, sql) in files {
            if !is_sql(&file) {
                continue;
            }
            let base = file.rsplit(['/', '\\']).next().unwrap_or(&file);
            let (name, file_dialect) = match parse_file_stem(&base[..base.len() - SQL.len()]) {
                Ok((name, file_dialect)) => (name.to_owned(), file_dialect),
                Err(error) => {
                    errors.push(format!("{file}: {error}"));
                    continue;
                }
            };
            if let Some(error) = find_error(&name, &sql) {
                errors.push(format!("{file}: {error}"));
            }
            match found.get(&(name.clone(), file_dialect)) {
                Some(other) => errors
                    .push(format!("{file}: has the same result name as {}; rename one of them", other.file)),
                None => drop(found.insert((name.clone(), file_dialect), Query { name, file, sql })),
            }
        }
        for ((name, _), query) in
            found.iter().filter(|((_, file_dialect), _)| *file_dialect != Dialect::Shared)
        {
            if !found.contains_key(&(name.clone(), Dialect::Shared)) {
                errors.push(format!(
                    "{}: replaces {name}.sql, which is missing; add it for the other engines",
                    query.file
                ));
            }
        }
        // The file of the dialect comes after the shared one and replaces it.
        let used = found
            .into_iter()
            .filter(|((_, file_dialect), _)| [Dialect::Shared, dialect].contains(file_dialect));
        let queries: BTreeMap<String, Query> = used.map(|((name, _), query)| (name, query)).collect();
        if queries.is_empty() && errors.is_empty() {
            errors.push("no .sql file; add one file for each result".to_owned());
        }
        if queries.len() > MAX_QUERIES {
            errors
                .push(format!("{} queries, at most {MAX_QUERIES} are allowed; split the set", queries.len()));
        }
        if errors.is_empty() {
            Ok(QuerySet { queries: queries.into_values().collect() })
        } else {
            errors.sort();
            Err(AnalyticsError::QuerySet(errors))
        }
    }

    /// The queries in name order.
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }
}

const SQL: &str = ".sql";

fn is_sql(file: &str) -> bool {
    file.ends_with(SQL)
}

/// Splits a file name without `.sql` into the name of the result and the dialect.
fn parse_file_stem(stem: &str) -> Result<(&str, Dialect), String> {
    let Some((name, word)) = stem.split_once('.') else {
        return Ok((stem, Dialect::Shared));
    };
    let found = ENGINES.iter().find(|(known, _)| *known == word);
    let (_, dialect) = found.ok_or_else(|| {
        let known = ENGINES.map(|(word, _)| word).join(" or ");
        format!("unknown engine \"{word}\"; name the file {name}.sql, or use {known}")
    })?;
    Ok((name, *dialect))
}

fn find_error(name: &str, sql: &str) -> Option<String> {
    let is_valid_name = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !is_valid_name {
        return Some(format!(
            "invalid result name \"{name}\"; use up to {MAX_NAME_BYTES} of a-z, A-Z, 0-9, _ and -"
        ));
    }
    if sql.len() > MAX_QUERY_BYTES {
        return Some(format!("{} bytes, at most {MAX_QUERY_BYTES} are allowed; split the query", sql.len()));
    }
    if sql.trim().is_empty() {
        return Some("empty; write one query or remove the file".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, sql: &str) -> (String, String) {
        (name.to_owned(), sql.to_owned())
    }

    #[test]
    fn the_embedded_set_is_the_ten_results_in_name_order() {
        let names: Vec<_> =
            QuerySet::embedded(Dialect::Shared).unwrap().queries().iter().map(|q| q.name.clone()).collect();
        assert_eq!(
            names,
            [
                "country_of_top_user",
                "median_followers_by_age_group",
                "median_followers_by_join_year",
                "median_followers_by_join_year_and_age_group",
                "popular_category_by_age_group",
                "popular_category_by_country",
                "popular_category_by_year",
                "posts_by_year_and_category",
                "top_user_by_country",
                "users_joined_by_year",
            ]
        );
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let long = "-".repeat(MAX_QUERY_BYTES + 1);
        let error = QuerySet::from_files(
            Dialect::Shared,
            [
                file("a/one.sql", "SELECT 1"),
                file("b/one.sql", "SELECT 2"),
                file("with blank.sql", "SELECT 1"),
                file("empty.sql", " \n"),
                file("long.sql", &long),
                file("README.md", "not a query"),
            ],
        )
        .unwrap_err()
        .to_string();
        for part in [
            "b/one.sql: has the same result name as a/one.sql",
            "\"with blank\"",
            "empty.sql: empty",
            "long.sql: 65537",
        ] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        assert!(!error.contains("README"), "{error}");
    }

    #[test]
    fn an_engine_has_its_own_file_in_the_place_of_the_shared_one() {
        let files = [
            file("q/a.sql", "SELECT 1"),
            file("q/b.athena.sql", "SELECT 3"),
            file("q/b.sql", "SELECT 2"),
            file("q/b.spark.sql", "SELECT 4"),
        ];
        let sql = |dialect| {
            let set = QuerySet::from_files(dialect, files.clone()).unwrap();
            set.queries().iter().map(|q| (q.name.clone(), q.sql.clone())).collect::<Vec<_>>()
        };
        assert_eq!(sql(Dialect::Shared), [file("a", "SELECT 1"), file("b", "SELECT 2")]);
        assert_eq!(sql(Dialect::Athena), [file("a", "SELECT 1"), file("b", "SELECT 3")]);
        assert_eq!(sql(Dialect::Spark), [file("a", "SELECT 1"), file("b", "SELECT 4")]);
    }

    #[test]
    fn errors_in_the_files_of_an_engine_are_reported_for_every_engine() {
        let files = [
            file("a.sql", "SELECT 1"),
            file("a.trino.sql", "SELECT 1"),
            file("alone.athena.sql", "SELECT 1"),
            file("b.spark.sql", ""),
            file("b.sql", "SELECT 1"),
            file("more/a.sql", "SELECT 1"),
        ];
        for dialect in [Dialect::Shared, Dialect::Athena, Dialect::Spark] {
            let error = QuerySet::from_files(dialect, files.clone()).unwrap_err();
            let AnalyticsError::QuerySet(errors) = error else { panic!("{error}") };
            let parts = [
                "a.trino.sql: unknown engine \"trino\"; name the file a.sql, or use athena or spark",
                "alone.athena.sql: replaces alone.sql, which is missing",
                "b.spark.sql: empty",
                "more/a.sql: has the same result name as a.sql",
            ];
            assert_eq!(errors.len(), parts.len(), "{errors:#?}");
            for (error, part) in errors.iter().zip(parts) {
                assert!(error.starts_with(part), "{part} is missing in: {error}");
            }
        }
    }

    #[test]
    fn a_set_without_queries_is_rejected() {
        assert!(QuerySet::from_files(Dialect::Shared, [file("notes.txt", "SELECT 1")]).is_err());
        let dir = tempfile::tempdir().unwrap();
        assert!(
            QuerySet::from_dir(Dialect::Shared, dir.path()).unwrap_err().to_string().contains("no .sql file")
        );
        let error = QuerySet::from_dir(Dialect::Shared, &dir.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("missing: cannot be read"), "{error}");
    }

    #[test]
    fn a_folder_gives_its_sql_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.sql"), "SELECT 2").unwrap();
        std::fs::write(dir.path().join("a.sql"), "SELECT 1").unwrap();
        std::fs::write(dir.path().join("a.txt"), "nothing").unwrap();
        std::fs::create_dir(dir.path().join("c.sql")).unwrap();
        let set = QuerySet::from_dir(Dialect::Shared, dir.path()).unwrap();
        assert_eq!(set.queries().iter().map(|q| q.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        std::fs::write(dir.path().join("latin1.sql"), b"SELECT '\xe9'").unwrap();
        assert!(
            QuerySet::from_dir(Dialect::Shared, dir.path()).unwrap_err().to_string().contains("latin1.sql")
        );
    }
}
