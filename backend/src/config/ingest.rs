//! What is left out and made unreadable before anything is kept, as the configuration has it.

use serde::Deserialize;

use crate::ingest::content::{ContentRules, Discard, MaskRule};
use crate::network::Network;

/// Rules about what packets hold.
#[derive(Clone, Debug, Deserialize)]
pub struct Ingest {
    /// One call in so many is kept.
    pub keep_one_in: u32,
    /// Window of duplicates, ms; 0 for no look.
    pub duplicate_milliseconds: u32,
    /// What is left out.
    pub discard: Vec<DiscardSettings>,
    /// What is made unreadable.
    pub mask: Vec<MaskSettings>,
}

/// One `[[ingest.discard]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscardSettings {
    name: String,
    methods: Vec<String>,
    agents: Vec<u32>,
    networks: Vec<String>,
    protocol_types: Vec<u8>,
    user_agents: Vec<String>,
}

/// One `[[ingest.mask]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskSettings {
    name: String,
    methods: Vec<String>,
    headers: Vec<String>,
    bodies: Vec<String>,
    body_lines: Vec<String>,
}

impl Ingest {
    /// The rules. What makes no sense is left out, since loading refuses it.
    #[must_use]
    pub fn rules(&self) -> ContentRules {
        ContentRules {
            discard: self.discard.iter().map(DiscardSettings::rule).collect(),
            keep_one_in: self.keep_one_in,
            duplicate_milliseconds: self.duplicate_milliseconds,
            mask: self.mask.iter().map(MaskSettings::rule).collect(),
            ..ContentRules::default()
        }
    }

    /// What of it makes no sense.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (key, names) in [
            ("ingest.discard", self.discard.iter().map(|rule| &rule.name).collect::<Vec<_>>()),
            ("ingest.mask", self.mask.iter().map(|rule| &rule.name).collect()),
        ] {
            if names.len() > MOST_RULES {
                mistakes.push(format!("{key}: expected at most {MOST_RULES} rules, found {}", names.len()));
            }
            for (place, name) in names.iter().enumerate() {
                if !is_name(name) {
                    mistakes.push(format!("{key}.name: expected letters, digits, - and _, found {name:?}"));
                } else if names.iter().take(place).any(|other| other == name) {
                    mistakes.push(format!("{key}.name: expected a name for each rule, found {name:?} twice"));
                }
            }
        }
        for rule in &self.discard {
            for network in rule.networks.iter().filter(|text| Network::parse(text).is_none()) {
                mistakes.push(format!("ingest.discard.networks: expected address/bits, found {network:?}"));
            }
            if !rule.rule().is_any() {
                mistakes.push(format!(
                    "ingest.discard: expected methods, agents, networks, protocol_types or user_agents, found none in {:?}",
                    rule.name
                ));
            }
        }
        for rule in &self.mask {
            if sip::BodyMask::parse(rule.bodies.iter().map(String::as_str)).is_none() {
                mistakes.push(format!(
                    "ingest.mask.bodies: expected \"all\" or content types such as \"text/*\" and \"!application/sdp\", found {:?}",
                    rule.bodies
                ));
            } else if !rule.rule().mask.is_any() {
                mistakes.push(format!(
                    "ingest.mask: expected headers, bodies or body_lines, found none in {:?}",
                    rule.name
                ));
            }
            if let Some(header) = rule.headers.iter().find(|name| sip::Mask::is_needed(name)) {
                mistakes.push(format!(
                    "ingest.mask.headers: expected none of From, To, Call-ID, CSeq, Via and Content-Length, by which messages are found and read, found {header:?}"
                ));
            }
            if rule.body_lines.iter().any(String::is_empty) {
                mistakes.push("ingest.mask.body_lines: expected beginnings of lines, found \"\"".to_owned());
            }
        }
        mistakes
    }
}

/// Rules of one kind: each is looked at for each packet.
const MOST_RULES: usize = 32;

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

impl DiscardSettings {
    fn rule(&self) -> Discard {
        let Self { name, methods, agents, networks, protocol_types, user_agents } = self.clone();
        let networks = networks.iter().filter_map(|network| Network::parse(network)).collect();
        Discard { name, methods, agents, networks, protocol_types, user_agents, ..Discard::default() }
    }
}

impl MaskSettings {
    fn rule(&self) -> MaskRule {
        let Self { name, methods, headers, bodies, body_lines } = self.clone();
        let body = sip::BodyMask::parse(bodies.iter().map(String::as_str)).unwrap_or_default();
        MaskRule { name, methods, mask: sip::Mask { headers, body, body_lines }, ..MaskRule::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, mistakes};

    /// The examples in default.toml, without their comment marks.
    fn examples() -> String {
        let text = super::super::DEFAULTS;
        let from = text.find("# [[ingest.discard]]").expect("an example");
        let examples = text[from..].lines().take_while(|line| line.starts_with('#'));
        examples
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| !line.starts_with("| "))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn there_is_no_rule_unless_one_is_set() {
        assert!(!load("").expect("the defaults").ingest.rules().is_any());
    }

    #[test]
    fn the_examples_load_and_use_every_key() {
        let text = examples();
        for key in [
            "methods",
            "agents",
            "networks",
            "protocol_types",
            "user_agents",
            "headers",
            "bodies",
            "body_lines",
        ] {
            assert!(text.contains(&format!("\n{key} = ")), "{key}: {text}");
        }
        let rules = load(&text).expect("the examples").ingest.rules();
        assert!(rules.is_any());
        assert_eq!((rules.discard.len(), rules.mask.len()), (3, 3));
        assert!(
            rules.discard.iter().all(super::Discard::is_any) && rules.mask.iter().all(|r| r.mask.is_any())
        );
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for (text, expected) in [
            ("[[ingest.discard]]\nname = \"a\"\n", "ingest.discard: expected methods, agents"),
            ("[[ingest.discard]]\nmethods = [\"BYE\"]\n", "ingest.discard.name: expected letters"),
            (
                "[[ingest.discard]]\nname = \"a\"\nagents = [1]\n[[ingest.discard]]\nname = \"a\"\nagents = [2]\n",
                "found \"a\" twice",
            ),
            ("[[ingest.discard]]\nname = \"a\"\nmethod = \"BYE\"\n", "unknown field `method`"),
            ("[[ingest.discard]]\nname = \"a\"\nnetworks = [\"x\"]\n", "ingest.discard.networks"),
            ("[[ingest.discard]]\nname = \"a\"\nprotocol_types = [256]\n", "expected u8"),
            ("[[ingest.mask]]\nname = \"a\"\n", "ingest.mask: expected headers, bodies"),
            ("[[ingest.mask]]\nname = \"a\"\nheaders = [\"v\"]\n", "by which messages are found"),
            ("[[ingest.mask]]\nname = \"a\"\nbodies = [\"text\"]\n", "ingest.mask.bodies"),
            ("[[ingest.mask]]\nname = \"a\"\nbody_lines = [\"\"]\n", "ingest.mask.body_lines"),
            ("[ingest]\nduplicate_milliseconds = 60_001\n", "expected 0 to 60000"),
            ("[ingest]\nkeep_one_in = 0\n", "expected 1 to"),
        ] {
            let found = mistakes(text);
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
