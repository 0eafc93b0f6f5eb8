//! Pauses in a query, at which it can be stopped.
//!
//! The engine pauses where rows come in. A join makes many rows of few: it can be long at work on what it has, and
//! until it pauses neither a time-out nor the end of the run can stop it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, coop::CooperativeExec};

/// Lets joins pause too.
#[derive(Debug)]
pub(crate) struct PausesInJoins;

impl PhysicalOptimizerRule for PausesInJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pausing = plan.transform_up(|node| {
            Ok(match node.children().len() {
                0 | 1 => Transformed::no(node),
                _ => Transformed::yes(Arc::new(CooperativeExec::new(node))),
            })
        })?;
        Ok(pausing.data)
    }

    fn name(&self) -> &str {
        "PausesInJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
