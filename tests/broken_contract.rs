//! A catalog with a broken contract beside good ones. The tests of several functions include this file.

use std::sync::Arc;

use pinlake_schema::{Catalog, ContractFile};

/// The built-in contracts, of which that of `dataset` has a mistake in its first column.
pub fn with_broken(dataset: &str) -> Arc<Catalog> {
    let own = format!("{dataset}.toml");
    let files = Catalog::embedded().unwrap().files().to_vec();
    let files = files.into_iter().map(|(name, text)| {
        let text = if name.ends_with(&own) { text.replacen("type = \"", "type = \"x", 1) } else { text };
        ContractFile { name, content: Ok(text.into_bytes()) }
    });
    let catalog = Catalog::isolate(files).unwrap();
    assert_eq!(catalog.broken().len(), 1);
    Arc::new(catalog)
}
