//! Query sets: SQL files, one a result, the file's name without `.sql` being the result's name.
//!
//! The SQL of `<result>.sql` is what all engines share. Where one of them cannot say it so, `<result>.<engine>.sql`
//! beside it takes its place on that engine: the same question, the same columns, the same rows.

use std::{collections::BTreeMap, fs, path::Path};

use include_dir::{Dir, include_dir};

use crate::AnalyticsError;

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../queries");

/// Longest query, in bytes. The parser recurses over the text, so its length is bounded before it sees it.
const MAX_QUERY_BYTES: usize = 64 * 1024;
/// Most queries in a set.
const MAX_QUERIES: usize = 1_000;
/// Longest name of a result, in bytes (it becomes a key of the results table).
const MAX_NAME_BYTES: usize = 128;

/// Whose SQL a set is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dialect {
    /// What all engines share. The one in this program, DataFusion, takes nothing else.
    Shared,
    /// Amazon Athena's, which is Trino's.
    Athena,
    /// Apache Spark's.
    Spark,
}

/// The engines that may have files of their own, by the word in their names.
const WITH_FILES: [(&str, Dialect); 2] = [("athena", Dialect::Athena), ("spark", Dialect::Spark)];

/// One SQL file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Name of the result.
    pub name: String,
    /// The file as messages name it.
    pub file: String,
    /// Its text: one query.
    pub sql: String,
}

/// The queries of one run, in name order. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySet {
    queries: Vec<Query>,
}

impl QuerySet {
    /// The set that was compiled in, the files of `queries/`, in one dialect.
    pub fn embedded(dialect: Dialect) -> Result<QuerySet, AnalyticsError> {
        let files = EMBEDDED.files().filter_map(|file| {
            let name = file.path().to_str()?;
            Some((format!("queries/{name}"), file.contents_utf8()?.to_owned()))
        });
        QuerySet::from_files(dialect, files)
    }

    /// The `.sql` files directly in a folder, in one dialect; other files are left alone.
    ///
    /// # Errors
    /// All mistakes at once: a folder or file that cannot be read, and what [`QuerySet::from_files`] refuses.
    pub fn from_dir(dialect: Dialect, dir: &Path) -> Result<QuerySet, AnalyticsError> {
        let unreadable = |path: &Path, error: std::io::Error| {
            format!("{}: cannot be read: {error}; name a folder of .sql files, one a result", path.display())
        };
        let entries =
            fs::read_dir(dir).map_err(|error| AnalyticsError::QuerySet(vec![unreadable(dir, error)]))?;
        let mut files = Vec::new();
        let mut mistakes = Vec::new();
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    mistakes.push(unreadable(dir, error));
                    continue;
                }
            };
            if !is_sql(&path.to_string_lossy()) || path.is_dir() {
                continue;
            }
            match fs::read_to_string(&path) {
                Ok(sql) => files.push((path.display().to_string(), sql)),
                Err(error) => mistakes.push(unreadable(&path, error)),
            }
        }
        match QuerySet::from_files(dialect, files) {
            Ok(set) if mistakes.is_empty() => Ok(set),
            // An empty set is no news beside files that could not be read.
            Ok(_) => Err(AnalyticsError::QuerySet(mistakes)),
            Err(AnalyticsError::QuerySet(more)) => {
                mistakes.extend(more);
                Err(AnalyticsError::QuerySet(mistakes))
            }
            Err(other) => Err(other),
        }
    }

    /// Files by name (a path or an object's key) and text, in one dialect; those that do not end in `.sql` are left alone.
    ///
    /// # Errors
    /// All mistakes at once, in the files of other dialects too: no query at all or too many, a name that is no result's
    /// name, an engine that is not known or whose file has no shared one beside it, two files for one result, an empty
    /// or overlong query.
    pub fn from_files(
        dialect: Dialect,
        files: impl IntoIterator<Item = (String, String)>,
    ) -> Result<QuerySet, AnalyticsError> {
        let mut found: BTreeMap<(String, Dialect), Query> = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (file, sql) in files {
            if !is_sql(&file) {
                continue;
            }
            let base = file.rsplit(['/', '\\']).next().unwrap_or(&file);
            let (name, own) = match dialect_of(&base[..base.len() - SQL.len()]) {
                Ok((name, own)) => (name.to_owned(), own),
                Err(mistake) => {
                    mistakes.push(format!("{file}: {mistake}"));
                    continue;
                }
            };
            if let Some(mistake) = mistake_in(&name, &sql) {
                mistakes.push(format!("{file}: {mistake}"));
            }
            match found.get(&(name.clone(), own)) {
                Some(other) => mistakes
                    .push(format!("{file}: gives the same result as {}; rename one of them", other.file)),
                None => drop(found.insert((name.clone(), own), Query { name, file, sql })),
            }
        }
        for ((name, _), query) in found.iter().filter(|((_, own), _)| *own != Dialect::Shared) {
            if !found.contains_key(&(name.clone(), Dialect::Shared)) {
                mistakes.push(format!(
                    "{}: takes the place of {name}.sql, which is missing; write it for the other engines",
                    query.file
                ));
            }
        }
        // An engine's own file comes after the shared one, whose place it takes.
        let used = found.into_iter().filter(|((_, own), _)| [Dialect::Shared, dialect].contains(own));
        let queries: BTreeMap<String, Query> = used.map(|((name, _), query)| (name, query)).collect();
        if queries.is_empty() && mistakes.is_empty() {
            mistakes.push("no .sql file in it; put one file a result there".to_owned());
        }
        if queries.len() > MAX_QUERIES {
            mistakes.push(format!("{} queries, at most {MAX_QUERIES} are run; split the set", queries.len()));
        }
        if mistakes.is_empty() {
            Ok(QuerySet { queries: queries.into_values().collect() })
        } else {
            mistakes.sort();
            Err(AnalyticsError::QuerySet(mistakes))
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

/// A file's name without `.sql`: its result, and the engine that it is for.
fn dialect_of(stem: &str) -> Result<(&str, Dialect), String> {
    let Some((name, word)) = stem.split_once('.') else {
        return Ok((stem, Dialect::Shared));
    };
    let found = WITH_FILES.iter().find(|(known, _)| *known == word);
    let (_, dialect) = found.ok_or_else(|| {
        let known = WITH_FILES.map(|(word, _)| word).join(" and ");
        format!("\"{word}\" is no engine with SQL of its own; name it {name}.sql, or for one of {known}")
    })?;
    Ok((name, *dialect))
}

fn mistake_in(name: &str, sql: &str) -> Option<String> {
    let named_well = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !named_well {
        return Some(format!(
            "\"{name}\" cannot name a result; use up to {MAX_NAME_BYTES} of a-z, A-Z, 0-9, _ and -"
        ));
    }
    if sql.len() > MAX_QUERY_BYTES {
        return Some(format!("{} bytes long, at most {MAX_QUERY_BYTES} are read; split it", sql.len()));
    }
    if sql.trim().is_empty() {
        return Some("empty; write one query in it or remove it".to_owned());
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
    fn all_mistakes_are_named_at_once() {
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
            "b/one.sql: gives the same result as a/one.sql",
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
    fn mistakes_in_the_files_of_engines_are_named_for_every_engine() {
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
            let AnalyticsError::QuerySet(mistakes) = error else { panic!("{error}") };
            let parts = [
                "a.trino.sql: \"trino\" is no engine with SQL of its own; name it a.sql, or for one of athena and spark",
                "alone.athena.sql: takes the place of alone.sql, which is missing",
                "b.spark.sql: empty",
                "more/a.sql: gives the same result as a.sql",
            ];
            assert_eq!(mistakes.len(), parts.len(), "{mistakes:#?}");
            for (mistake, part) in mistakes.iter().zip(parts) {
                assert!(mistake.starts_with(part), "{part} is missing in: {mistake}");
            }
        }
    }

    #[test]
    fn a_set_without_queries_is_refused() {
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
