//! What is kept, for how long and for whom, as the configuration has it.

use serde::Deserialize;

use crate::network::Network;
use crate::store::rule::DEFAULT_RULE;
use crate::store::{self, Bounds, Class, Rule};
use crate::tenant::{Tenant, Tenants};

/// Rules, and tenants, at most: each packet or slice is compared with them.
const MOST: usize = 1000;

/// Longest name of a rule or a tenant, octets.
const LONGEST_NAME: usize = 64;

/// Longest time that can be set, hours.
const MOST_HOURS: u32 = 1_000_000;

/// What is kept, and for how long.
#[derive(Clone, Debug, Deserialize)]
pub struct Retention {
    /// For so long; 0 for ever.
    pub hours: u32,
    /// So many octets; 0 for no bound.
    pub max_bytes: u64,
    /// So many octets of the disk stay free; 0 for no guard.
    pub disk_free_bytes: u64,
    /// What is kept otherwise.
    pub rules: Vec<RuleSettings>,
}

/// One `[[retention.rules]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSettings {
    name: String,
    classes: Vec<String>,
    tenants: Vec<String>,
    hours: u32,
    max_bytes: u64,
}

/// One `[[tenants]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// Its name.
    pub name: String,
    networks: Vec<String>,
    agents: Vec<u32>,
}

impl Retention {
    /// What the store goes by. What makes no sense is left out, since loading refuses it.
    #[must_use]
    pub fn rules(&self) -> store::Retention {
        let Bounds { age_us, bytes } = bounds(self.hours, self.max_bytes);
        let rules = self.rules.iter().map(RuleSettings::rule).collect();
        store::Retention { age_us, bytes, free_bytes: self.disk_free_bytes, rules }
    }

    /// What of it makes no sense beside these tenants.
    pub(super) fn mistakes(&self, tenants: &[TenantSettings]) -> Vec<String> {
        let mut mistakes = names("retention.rules", self.rules.iter().map(|rule| &rule.name));
        let mut hours = vec![("retention.hours", self.hours)];
        for rule in &self.rules {
            hours.push(("retention.rules.hours", rule.hours));
            if rule.name == DEFAULT_RULE {
                mistakes.push(format!(
                    "retention.rules.name: expected another name than {DEFAULT_RULE:?}, which retention.hours and retention.max_bytes set"
                ));
            }
            for class in rule.classes.iter().filter(|class| Class::from_name(class).is_none()) {
                let known = Class::ALL.map(Class::as_str).join(", ");
                mistakes.push(format!("retention.rules.classes: expected some of {known}, found {class:?}"));
            }
            for name in rule.tenants.iter().filter(|name| !tenants.iter().any(|t| t.name == **name)) {
                mistakes
                    .push(format!("retention.rules.tenants: expected names of [[tenants]], found {name:?}"));
            }
        }
        for (key, hours) in hours.into_iter().filter(|(_, hours)| *hours > MOST_HOURS) {
            mistakes.push(format!("{key}: expected 0 to {MOST_HOURS}, found {hours}"));
        }
        mistakes
    }
}

impl RuleSettings {
    fn rule(&self) -> Rule {
        Rule {
            name: self.name.as_str().into(),
            classes: self.classes.iter().filter_map(|class| Class::from_name(class)).collect(),
            tenants: self.tenants.iter().map(|tenant| tenant.as_str().into()).collect(),
            bounds: bounds(self.hours, self.max_bytes),
        }
    }
}

fn bounds(hours: u32, max_bytes: u64) -> Bounds {
    Bounds {
        age_us: (hours > 0).then(|| i64::from(hours) * 3_600_000_000),
        bytes: Some(max_bytes).filter(|bytes| *bytes > 0),
    }
}

/// The tenants. Networks that are none are left out, since loading refuses them.
#[must_use]
pub fn tenants(settings: &[TenantSettings]) -> Tenants {
    let tenant = |TenantSettings { name, networks, agents }: &TenantSettings| Tenant {
        name: name.as_str().into(),
        networks: networks.iter().filter_map(|network| Network::parse(network)).collect(),
        agents: agents.clone(),
    };
    Tenants::new(settings.iter().map(tenant).collect())
}

/// What of the tenants makes no sense.
pub(super) fn mistakes(settings: &[TenantSettings]) -> Vec<String> {
    let mut mistakes = names("tenants", settings.iter().map(|tenant| &tenant.name));
    for network in settings.iter().flat_map(|tenant| &tenant.networks) {
        if Network::parse(network).is_none() {
            mistakes.push(format!("tenants.networks: expected address/bits, found {network:?}"));
        }
    }
    let mut agents: Vec<_> = settings.iter().flat_map(|tenant| &tenant.agents).collect();
    agents.sort_unstable();
    for twice in agents.windows(2).filter(|pair| pair[0] == pair[1]) {
        mistakes.push(format!("tenants.agents: expected each agent once, found {} twice", twice[0]));
    }
    mistakes
}

/// What is wrong with the names of some sections.
fn names<'a>(key: &str, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut met = Vec::new();
    for name in names {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
            mistakes.push(format!(
                "{key}.name: expected 1 to {LONGEST_NAME} letters, digits, -, _ and ., found {name:?}"
            ));
        } else if met.contains(&name) {
            mistakes.push(format!("{key}.name: expected each name once, found {name:?} twice"));
        }
        met.push(name);
    }
    if met.len() > MOST {
        mistakes.push(format!("{key}: expected at most {MOST}, found {}", met.len()));
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, mistakes};
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    /// The examples in default.toml, without their comment marks.
    fn examples() -> String {
        let lines = super::super::DEFAULTS.lines().filter_map(|line| line.strip_prefix("# "));
        let mut kept = Vec::new();
        let mut inside = false;
        for line in lines {
            inside = line.starts_with("[[tenants]]")
                || line.starts_with("[[retention.rules]]")
                || (inside && line.contains(" = "));
            kept.extend(inside.then_some(line));
        }
        kept.join("\n")
    }

    #[test]
    fn the_examples_load_and_use_every_key() {
        let text = examples();
        for key in ["name", "networks", "agents", "classes", "tenants", "hours", "max_bytes"] {
            assert!(text.contains(&format!("\n{key} = ")), "{key}: {text}");
        }
        let config = load(&text).expect("valid");
        let retention = config.retention.rules();
        assert_eq!(&*retention.rule_of(Class::Options, None), "pings");
        assert_eq!(&*retention.rule_of(Class::Call, Some("acme")), "acme-calls");
        assert_eq!(&*retention.rule_of(Class::Call, None), "default");
        assert_eq!(retention.bounds("pings").age_us, Some(24 * HOUR_US));
        let tenants = tenants(&config.tenants);
        assert_eq!(tenants.of(None, [10, 1, 0, 9].into(), 0).as_deref(), Some("acme"));
        assert_eq!(tenants.of(None, [192, 0, 2, 1].into(), 2001).as_deref(), Some("acme"));
    }

    #[test]
    fn without_rules_and_tenants_all_is_kept_alike_and_nobodys() {
        let config = load("").expect("the defaults");
        assert_eq!(config.retention.rules().rules.len(), 0);
        assert_eq!(tenants(&config.tenants), Tenants::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let rule = |line: &str| mistakes(&format!("[[retention.rules]]\nname = \"a\"\n{line}\n"));
        for (text, part) in [
            (
                rule("classes = [\"calls\"]"),
                "retention.rules.classes: expected some of call, registration, options, event, found \"calls\"",
            ),
            (
                rule("tenants = [\"acme\"]"),
                "retention.rules.tenants: expected names of [[tenants]], found \"acme\"",
            ),
            (rule("hours = 1000001"), "retention.rules.hours: expected 0 to 1000000, found 1000001"),
            (rule("days = 7"), "unknown field `days`"),
            (rule("hours = \"7\""), "invalid type: string \"7\""),
            (
                rule("[[retention.rules]]\nname = \"a\""),
                "retention.rules.name: expected each name once, found \"a\" twice",
            ),
            (
                mistakes("[[retention.rules]]\nname = \"default\""),
                "retention.rules.name: expected another name than \"default\"",
            ),
            (mistakes("[[retention.rules]]\nhours = 1"), "retention.rules.name: expected 1 to 64 letters"),
            (mistakes("[retention]\nrules = 5"), "retention.rules: expected array, found integer"),
            (
                mistakes("[[tenants]]\nname = \"a b\""),
                "tenants.name: expected 1 to 64 letters, digits, -, _ and ., found \"a b\"",
            ),
            (
                mistakes("[[tenants]]\nname = \"a\"\nnetworks = [\"10.0.0.0/33\"]"),
                "tenants.networks: expected address/bits, found \"10.0.0.0/33\"",
            ),
            (
                mistakes("[[tenants]]\nname = \"a\"\nagents = [7]\n[[tenants]]\nname = \"b\"\nagents = [7]"),
                "tenants.agents: expected each agent once, found 7 twice",
            ),
            (mistakes("[[tenants]]\nname = \"a\"\nagent = [7]"), "unknown field `agent`"),
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
