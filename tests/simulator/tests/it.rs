//! Seeds, and safeguards taken away.
