//! Signed, expiring draft tokens (semantics, section 12).
//!
//! A token is base64url of: a version byte, the expiry in nanoseconds since 1970 (8 bytes, big-endian), and an HMAC-SHA256
//! of both.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Time;

const VERSION: u8 = 1;
const SIGNED: usize = 1 + 8;
const TAG: usize = 32;
/// Keeps these signatures apart from any other use of the same secret.
const PURPOSE: &[u8] = b"libisr draft\0";

/// Makes a token that is valid until `expires`: url-safe text.
pub(crate) fn sign(secret: &[u8], expires: Time) -> String {
    let mut token = Vec::with_capacity(SIGNED + TAG);
    token.push(VERSION);
    token.extend_from_slice(&expires.nanos().to_be_bytes());
    // Without a secret the token stays without a signature, and never verifies.
    if let Some(mac) = mac(secret, &token) {
        token.extend_from_slice(&mac.finalize().into_bytes());
    }
    URL_SAFE_NO_PAD.encode(token)
}

/// Whether a token was signed with this secret and has not expired; compared in constant time.
pub(crate) fn verify(secret: &[u8], token: &str, now: Time) -> bool {
    let mut bytes = [0; SIGNED + TAG];
    // A wrong length is refused before anything is decoded, so that a long text costs nothing.
    if token.len() != (SIGNED + TAG) * 4 / 3 + 1
        || URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) != Ok(SIGNED + TAG)
    {
        return false;
    }
    let (signed, tag) = bytes.split_at(SIGNED);
    let Some(mac) = mac(secret, signed) else { return false };
    if mac.verify_slice(tag).is_err() || signed[0] != VERSION {
        return false;
    }
    let mut nanos = [0; 8];
    nanos.copy_from_slice(&signed[1..]);
    now <= Time::from_nanos(u64::from_be_bytes(nanos))
}

/// `None` where there is no secret to sign with.
fn mac(secret: &[u8], signed: &[u8]) -> Option<Hmac<Sha256>> {
    if secret.is_empty() {
        return None;
    }
    let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    Some(mac.chain_update(PURPOSE).chain_update(signed))
}

/// 32 random bytes from the system. Empty in the case that it has none: then no token verifies.
pub(crate) fn random_secret() -> Vec<u8> {
    let mut secret = vec![0; 32];
    match getrandom::fill(&mut secret) {
        Ok(()) => secret,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"sixteen bytes ok";
    const EXPIRES: Time = Time::from_nanos(1_700_000_060_000_000_000);

    fn after(nanos: u64) -> Time {
        Time::from_nanos(EXPIRES.nanos() + nanos)
    }

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let token = sign(SECRET, EXPIRES);
        assert!(verify(SECRET, &token, Time::from_nanos(0)));
        assert!(verify(SECRET, &token, EXPIRES));
        assert!(!verify(SECRET, &token, after(1)));
    }

    #[test]
    fn equal_inputs_give_equal_tokens_and_others_do_not() {
        // Fixed, so that tokens signed before an update verify after it, and on another machine.
        assert_eq!(
            sign(SECRET, EXPIRES),
            "AReXnQwucVgAuFyWfo1y9-Ow-hyslPldyWkxurwcwmqfwyXecLXhfv8"
        );
        assert_ne!(sign(SECRET, EXPIRES), sign(SECRET, after(1)));
        assert_ne!(sign(SECRET, EXPIRES), sign(b"another sixteen b", EXPIRES));
    }

    #[test]
    fn another_secret_refuses() {
        let token = sign(SECRET, EXPIRES);
        assert!(!verify(b"another sixteen b", &token, EXPIRES));
        assert!(!verify(b"", &token, EXPIRES));
    }

    #[test]
    fn no_secret_signs_nothing() {
        assert!(!verify(b"", &sign(b"", EXPIRES), EXPIRES));
        assert!(!verify(SECRET, &sign(b"", EXPIRES), EXPIRES));
    }

    #[test]
    fn every_changed_character_refuses() {
        let token = sign(SECRET, EXPIRES);
        for at in 0..token.len() {
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            assert!(!verify(SECRET, &forged, Time::from_nanos(0)), "at {at}");
        }
    }

    #[test]
    fn another_form_of_the_same_bytes_refuses() {
        let token = sign(SECRET, EXPIRES);
        for form in
            [format!("{token}="), format!("{token}A"), format!(" {token}"), token[..54].to_string()]
        {
            assert!(!verify(SECRET, &form, EXPIRES), "{form}");
        }
    }

    #[test]
    fn another_version_refuses_although_it_is_signed() {
        let mut bytes = vec![VERSION + 1];
        bytes.extend_from_slice(&EXPIRES.nanos().to_be_bytes());
        let tag = mac(SECRET, &bytes).unwrap().finalize().into_bytes();
        bytes.extend_from_slice(&tag);
        assert!(!verify(SECRET, &URL_SAFE_NO_PAD.encode(bytes), EXPIRES));
    }

    #[test]
    fn random_secrets_differ() {
        let (a, b) = (random_secret(), random_secret());
        assert_eq!(a.len(), 32);
        assert_ne!(a, b);
    }

    proptest! {
        #[test]
        fn any_token_is_survived(token in "\\PC{0,80}") {
            prop_assert!(!verify(SECRET, &token, Time::from_nanos(0)));
        }

        #[test]
        fn any_token_of_the_right_length_is_survived(token in "[A-Za-z0-9_-]{55}") {
            prop_assert!(!verify(SECRET, &token, Time::from_nanos(0)));
        }

        #[test]
        fn signed_is_verified(
            secret in prop::collection::vec(any::<u8>(), 1..100),
            expires in any::<u64>(),
            now in any::<u64>(),
        ) {
            let token = sign(&secret, Time::from_nanos(expires));
            prop_assert_eq!(verify(&secret, &token, Time::from_nanos(now)), now <= expires);
        }
    }
}
