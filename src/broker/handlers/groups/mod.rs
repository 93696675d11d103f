//! Consumer groups. Until they exist, only the look-up of a coordinator is answered.

pub mod find_coordinator;
