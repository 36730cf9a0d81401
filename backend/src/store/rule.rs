//! Which rule a slice is kept under, told by its class and tenant when it is made.

use std::sync::{Arc, LazyLock};

use super::Class;

/// The rule of what no other takes.
pub const DEFAULT_RULE: &str = "default";

static DEFAULT_NAME: LazyLock<Arc<str>> = LazyLock::new(|| DEFAULT_RULE.into());

/// The name of the rule of what no other takes.
#[must_use]
pub fn default_name() -> Arc<str> {
    Arc::clone(&DEFAULT_NAME)
}

/// For how long, and how much, is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bounds {
    /// For so long, µs; for ever where `None`.
    pub age_us: Option<i64>,
    /// So many octets; without a bound where `None`.
    pub bytes: Option<u64>,
}

/// A retention rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Its name, which stays with the slices that it takes.
    pub name: Arc<str>,
    /// What it takes; all classes where it is empty.
    pub classes: Vec<Class>,
    /// Whose it takes; everybody's, and what is nobody's, where it is empty.
    pub tenants: Vec<Arc<str>>,
    /// What is kept of it.
    pub bounds: Bounds,
}

impl Rule {
    /// Whether it takes a slice of this class and tenant.
    #[must_use]
    pub fn takes(&self, class: Class, tenant: Option<&str>) -> bool {
        let of_class = self.classes.is_empty() || self.classes.contains(&class);
        of_class && (self.tenants.is_empty() || self.tenants.iter().any(|wanted| Some(&**wanted) == tenant))
    }
}
