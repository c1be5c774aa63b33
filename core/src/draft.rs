//! Signed, expiring draft tokens (semantics, section 12).

use crate::clock::Time;

/// Makes a token that is valid until `expires`: url-safe text.
pub(crate) fn sign(secret: &[u8], expires: Time) -> String {
    let _ = (secret, expires);
    todo!()
}

/// Whether a token was signed with this secret and has not expired; compared in constant time.
pub(crate) fn verify(secret: &[u8], token: &str, now: Time) -> bool {
    let _ = (secret, token, now);
    todo!()
}

/// 32 random bytes from the system.
pub(crate) fn random_secret() -> Vec<u8> {
    todo!()
}
