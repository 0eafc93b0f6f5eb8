//! The open tables of a lake and what they share. The operations on a lake are free functions over it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use pinlake_env::{Clock, Env, Rng};
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_schema::Contract;

use crate::evaluation::EvaluationCache;
use crate::keys::KeyMemoryBudget;
use crate::maintenance::MaintenancePolicy;
use crate::table::Table;

/// The key cache of all tables together: 40 MiB hold the indexes of twelve million rows.
const DEFAULT_KEY_CACHE_BYTES: usize = 40 << 20;

/// The tables in a store, with the caches, the clock and the randomness that they share.
#[derive(Debug)]
pub(crate) struct Tables {
    pub store: Arc<dyn ObjectStore>,
    pub maintenance: MaintenancePolicy,
    pub catalog_history: Arc<CatalogHistory>,
    pub evaluations: EvaluationCache,
    env: Env,
    key_budget: KeyMemoryBudget,
    /// Open tables by dataset, so that a warm process keeps what it has cached of them.
    open: Mutex<BTreeMap<String, Arc<Table>>>,
}

impl Tables {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, env: Env) -> Self {
        Self {
            store,
            maintenance: MaintenancePolicy::default(),
            catalog_history: Arc::default(),
            evaluations: EvaluationCache::default(),
            env,
            key_budget: KeyMemoryBudget::new(DEFAULT_KEY_CACHE_BYTES),
            open: Mutex::default(),
        }
    }

    /// Sets the size of the key cache. Applies to tables that are opened later.
    pub(crate) fn set_key_cache_bytes(&mut self, bytes: usize) {
        self.key_budget = KeyMemoryBudget::new(bytes);
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.env.clock
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn rng(&self) -> &Rng {
        &self.env.rng
    }

    /// The table of `contract`, which stays open. Reads nothing.
    pub(crate) fn get(&self, contract: &Arc<Contract>) -> Arc<Table> {
        let mut tables = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&contract.name)
            && table.contract().hash() == contract.hash()
        {
            return table.clone();
        }
        let table = Arc::new(self.open_once(contract));
        tables.insert(contract.name.clone(), table.clone());
        table
    }

    /// The table of `contract`, for one use.
    pub(crate) fn open_once(&self, contract: &Arc<Contract>) -> Table {
        Table::new(
            self.store.clone(),
            self.env.clone(),
            contract.clone(),
            self.catalog_history.clone(),
            self.key_budget.clone(),
            self.maintenance,
        )
    }
}
