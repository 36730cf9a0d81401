//! A message as JSON, octet for octet what serde makes of [`Message`], in a fraction of the time: names are written as they stand, and
//! text is looked through by words. Pages of thousands of messages spend most of their time here.

use std::io::Write as _;
use std::net::SocketAddr;

use super::model::Message;

const fn repeated(octet: u8) -> u64 {
    u64::from_ne_bytes([octet; 8])
}

/// Writes a message to the end of a text.
pub fn message(message: &Message<'_>, json: &mut Vec<u8>) {
    // Each field by its name, so that none is forgotten.
    let Message {
        id,
        captured_at,
        src,
        dst,
        transport,
        agent_id,
        agent_name,
        correlation_id,
        call_id,
        kind,
        protocol_type,
        label,
        method,
        status,
        reason,
        cseq,
        from_user,
        from_tag,
        to_user,
        to_tag,
        request_uri,
        user_agent,
        branch,
        size_bytes,
        full_size_bytes,
        raw,
        raw_base64,
    } = message;
    let mut to = To(json);
    to.name(r#"{"id":""#);
    to.displayed(id);
    to.name(r#"","captured_at":""#);
    match captured_at.octets() {
        Some(octets) => to.0.extend_from_slice(&octets),
        None => to.displayed(captured_at),
    }
    to.name(r#"","src":""#);
    to.address(*src);
    to.name(r#"","dst":""#);
    to.address(*dst);
    to.name(r#"","transport":""#);
    to.name(transport.as_str());
    to.name(r#"","agent_id":"#);
    to.number(*agent_id);
    to.text(r#","agent_name":"#, agent_name.as_deref());
    to.text(r#","correlation_id":"#, correlation_id.as_deref());
    to.text(r#","call_id":"#, call_id.as_deref());
    to.name(r#","kind":""#);
    to.name(kind.as_str());
    to.name(r#"","protocol_type":"#);
    to.number(*protocol_type);
    to.text(r#","label":"#, Some(label));
    to.text(r#","method":"#, method.as_deref());
    to.any_number(r#","status":"#, *status);
    to.text(r#","reason":"#, reason.as_deref());
    to.any_number(r#","cseq":"#, *cseq);
    to.text(r#","from_user":"#, from_user.as_deref());
    to.text(r#","from_tag":"#, from_tag.as_deref());
    to.text(r#","to_user":"#, to_user.as_deref());
    to.text(r#","to_tag":"#, to_tag.as_deref());
    to.text(r#","request_uri":"#, request_uri.as_deref());
    to.text(r#","user_agent":"#, user_agent.as_deref());
    to.text(r#","branch":"#, branch.as_deref());
    to.name(r#","size_bytes":"#);
    to.number(*size_bytes);
    to.any_number(r#","full_size_bytes":"#, *full_size_bytes);
    to.text(r#","raw":"#, Some(raw));
    to.text(r#","raw_base64":"#, raw_base64.as_deref());
    to.name("}");
}

/// A text that JSON is written to.
struct To<'a>(&'a mut Vec<u8>);

impl To<'_> {
    /// What stands in JSON as it is.
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(name.as_bytes());
    }

    /// What is written without anything that JSON would escape.
    fn displayed(&mut self, value: &impl std::fmt::Display) {
        // A Vec takes whatever is written to it.
        let _written = write!(self.0, "{value}");
    }

    fn number(&mut self, number: impl itoa::Integer) {
        self.name(itoa::Buffer::new().format(number));
    }

    fn any_number(&mut self, name: &str, number: Option<impl itoa::Integer>) {
        self.name(name);
        match number {
            Some(number) => self.number(number),
            None => self.name("null"),
        }
    }

    fn address(&mut self, address: SocketAddr) {
        let SocketAddr::V4(v4) = address else { return self.displayed(&address) };
        let [a, b, c, d] = v4.ip().octets();
        self.number(a);
        for octet in [b, c, d] {
            self.name(".");
            self.number(octet);
        }
        self.name(":");
        self.number(v4.port());
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        self.name(name);
        let Some(text) = text else { return self.name("null") };
        self.name("\"");
        let mut rest = text.as_bytes();
        loop {
            let (plain, others) = rest.split_at(plain(rest));
            self.0.extend_from_slice(plain);
            let Some((octet, others)) = others.split_first() else { break };
            self.escaped(*octet);
            rest = others;
        }
        self.name("\"");
    }

    /// RFC 8259 §7. The short forms that there are, as serde_json.
    fn escaped(&mut self, octet: u8) {
        match octet {
            b'"' => self.name(r#"\""#),
            b'\\' => self.name(r"\\"),
            b'\n' => self.name(r"\n"),
            b'\r' => self.name(r"\r"),
            b'\t' => self.name(r"\t"),
            0x08 => self.name(r"\b"),
            0x0c => self.name(r"\f"),
            _ => {
                let _written = write!(self.0, "\\u{octet:04x}");
            }
        }
    }
}

/// Octets before the first that JSON escapes: a control character, a quote, or a backslash.
fn plain(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        // The highest bit of each octet that is to be escaped; perhaps of others, too, after the first of these.
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(repeated(0x20));
        let quote = (word ^ repeated(b'"')).wrapping_sub(repeated(1));
        let backslash = (word ^ repeated(b'\\')).wrapping_sub(repeated(1));
        let found = (control | quote | backslash) & !word & repeated(0x80);
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_escaped = |octet: &u8| *octet < 0x20 || matches!(octet, b'"' | b'\\');
    words.len() * 8 + rest.iter().position(is_escaped).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut json = Vec::new();
        To(&mut json).text("", Some(text));
        String::from_utf8(json).expect("text")
    }

    #[test]
    fn each_character_is_written_as_serde_writes_it_wherever_it_stands() {
        for character in (0..0x180).chain([0x2028, 0xfffd, 0x1f600]).filter_map(char::from_u32) {
            for before in 0..18 {
                let text = format!(
                    "{}{character}{character}\r\nmore",
                    "é\"".repeat(before / 9) + &"x".repeat(before % 9)
                );
                assert_eq!(written(&text), serde_json::to_string(&text).expect("JSON"), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_writes_it(text in any::<String>()) {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).expect("JSON"));
        }

        #[test]
        fn addresses_are_written_as_they_are_shown(address in any::<SocketAddr>()) {
            let mut json = Vec::new();
            To(&mut json).address(address);
            prop_assert_eq!(String::from_utf8(json).expect("text"), address.to_string());
        }
    }
}
