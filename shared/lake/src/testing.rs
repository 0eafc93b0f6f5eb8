//! What the tests of several modules begin with.

use std::sync::Arc;

use pinlake_effects::{Chance, Effects, ManualClock};
use pinlake_schema::Catalog;

/// A clock that stands still, and chance that is the same in every run.
pub(crate) fn effects(seed: u64) -> Effects {
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    Effects { clock: Arc::new(clock), chance: Arc::new(Chance::seeded(seed)) }
}

/// Contracts of one dataset, `visit`, whose column `page` has this rule, such as `null = ["home"]`.
pub(crate) fn visits(page: &str) -> Arc<Catalog> {
    let text = format!(
        "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n\
         [route]\nfiles = [\"visit*\"]\nstreams = [\"*-visit\"]\ntopics = [\"*.visit\"]\nshape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
         [[column]]\nname = \"page\"\ntype = \"int64\"\n{page}\n"
    );
    Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
}

/// Contracts without a dataset that takes visits.
pub(crate) fn without_visits() -> Arc<Catalog> {
    let text = "name = \"other\"\nversion = 1\ndescription = \"x\"\n[route]\nshape = [\"other\"]\n\
                [[column]]\nname = \"other\"\ntype = \"int64\"\n";
    Arc::new(Catalog::from_files([("other.toml".to_owned(), text.to_owned())]).unwrap())
}
