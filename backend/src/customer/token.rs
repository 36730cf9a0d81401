//! The token in a link's address: which link, until when, signed.
//!
//! | octets | what |
//! | --- | --- |
//! | 1 | version of this layout: 1 |
//! | 1 | number of the key: 1 |
//! | 16 | id of the link |
//! | 8 | when it ends, µs since the epoch, big-endian |
//! | 32 | HMAC-SHA256 of the label and all before |
//!
//! In base64url without padding: 78 characters. A token of any other layout is none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

const VERSION: u8 = 1;

/// Number of the one key that there is. A second one, to rotate to, would be 2.
const KEY: u8 = 1;

/// Keeps this use of the key apart from any other.
const LABEL: &[u8] = b"siplens customer link";

const SIGNED_LEN: usize = 26;
const TOKEN_LEN: usize = SIGNED_LEN + 32;

/// What a token says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Which link.
    pub id: Uuid,
    /// When it ends, µs since the epoch.
    pub expires_at_us: i64,
}

/// Signs a claim.
#[must_use]
pub fn sign(claim: Claim, key: &[u8; 32]) -> String {
    let mut octets = Vec::with_capacity(TOKEN_LEN);
    octets.extend_from_slice(&[VERSION, KEY]);
    octets.extend_from_slice(claim.id.as_bytes());
    octets.extend_from_slice(&claim.expires_at_us.to_be_bytes());
    let signature = mac(&octets, key).finalize().into_bytes();
    octets.extend_from_slice(&signature);
    URL_SAFE_NO_PAD.encode(octets)
}

/// Reads a token that was signed with this key; `None` for anything else.
#[must_use]
pub fn verify(token: &str, key: &[u8; 32]) -> Option<Claim> {
    let octets: [u8; TOKEN_LEN] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
    let (signed, signature) = octets.split_at_checked(SIGNED_LEN)?;
    // In constant time.
    mac(signed, key).verify_slice(signature).ok()?;
    let (head, rest) = signed.split_at_checked(2)?;
    let (id, expires_at_us) = rest.split_at_checked(16)?;
    if head != [VERSION, KEY] {
        return None;
    }
    let expires_at_us = i64::from_be_bytes(expires_at_us.try_into().ok()?);
    Some(Claim { id: Uuid::from_slice(id).ok()?, expires_at_us })
}

fn mac(signed: &[u8], key: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(LABEL);
    mac.update(signed);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: Claim = Claim { id: Uuid::from_u128(0x1234_5678), expires_at_us: 1_795_255_200_000_000 };

    #[test]
    fn a_token_says_what_was_signed() {
        let token = sign(CLAIM, &[7; 32]);
        assert_eq!(token.len(), 78);
        assert_eq!(verify(&token, &[7; 32]), Some(CLAIM));
    }

    #[test]
    fn a_token_of_another_key_is_none() {
        assert_eq!(verify(&sign(CLAIM, &[7; 32]), &[8; 32]), None);
    }

    #[test]
    fn a_token_changed_in_any_place_to_anything_is_none() {
        let token = sign(CLAIM, &[7; 32]);
        for place in 0..token.len() {
            for other in (0..=127).filter(|other| *other != token.as_bytes()[place]) {
                let mut altered = token.clone().into_bytes();
                altered[place] = other;
                let altered = String::from_utf8(altered).expect("ASCII");
                assert_eq!(verify(&altered, &[7; 32]), None, "{place}: {other}");
            }
        }
    }

    #[test]
    fn a_token_of_another_length_is_none() {
        let token = sign(CLAIM, &[7; 32]);
        for end in 0..token.len() {
            assert_eq!(verify(&token[..end], &[7; 32]), None);
        }
        for more in ["A", "=", "==", "\0", " ", "AAAA"] {
            assert_eq!(verify(&format!("{token}{more}"), &[7; 32]), None);
            assert_eq!(verify(&format!("{more}{token}"), &[7; 32]), None);
        }
    }
}
