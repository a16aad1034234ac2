//! Sealed boxes: HPKE (RFC 9180) base mode, X25519-HKDF-SHA256 with ChaCha20-Poly1305.

use crate::keys::{Identity, SealKey};
use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _, aead::ChaCha20Poly1305,
    kdf::HkdfSha256, kem::X25519HkdfSha256 as Kem,
};
use model::{JobId, MinionId, broken};

/// What the boxes are for: HPKE's `info`.
const PURPOSE: &[u8] = b"lab1-seal";
/// Length of the encapsulated key in front of the ciphertext.
const ENCAPSULATED: usize = 32;

/// The associated data of a recipe: nothing sealed for another minion or job opens.
pub fn recipe_context(minion: &MinionId, job: JobId) -> Vec<u8> {
    if broken::leaves_out("seal-context") {
        return Vec::new();
    }
    format!("lab1-recipe\0{minion}\0{job}").into_bytes()
}

/// The associated data of what a minion does by itself: nothing sealed for another minion, and no recipe, opens.
pub fn conduct_context(minion: &MinionId) -> Vec<u8> {
    if broken::leaves_out("seal-context") {
        return Vec::new();
    }
    format!("lab1-conduct\0{minion}").into_bytes()
}

/// Seals `plain` so that only the owner of `to` can open it, bound to `context`.
///
/// The box is the encapsulated key (32 bytes), the ciphertext and the tag (16 bytes). To a key that
/// [`SealKey::from_text`] would refuse, the box is empty, and nobody opens it.
pub fn seal(plain: &[u8], to: &SealKey, context: &[u8]) -> Vec<u8> {
    try_seal(plain, to, context).unwrap_or_default()
}

/// Opens what was sealed to `identity` with the same `context`; `None` if it was not.
pub fn open(sealed: &[u8], identity: &Identity, context: &[u8]) -> Option<Vec<u8>> {
    let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED)?;
    let secret = <Kem as hpke::Kem>::PrivateKey::from_bytes(identity.seal_secret()).ok()?;
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        PURPOSE,
        ciphertext,
        context,
    )
    .ok()
}

fn try_seal(plain: &[u8], to: &SealKey, context: &[u8]) -> Option<Vec<u8>> {
    let key = <Kem as hpke::Kem>::PublicKey::from_bytes(&to.0).ok()?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &key,
        PURPOSE,
        plain,
        context,
    )
    .ok()?;
    Some([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
}

/// Whether anything can be sealed to a key.
pub(crate) fn usable(key: &SealKey) -> bool {
    try_seal(&[], key, &[]).is_some()
}

/// The public half of a secret.
pub(crate) fn public_of(secret: &[u8; 32]) -> SealKey {
    let secret = <Kem as hpke::Kem>::PrivateKey::from_bytes(secret).expect("32 bytes are an X25519 secret");
    SealKey(Kem::sk_to_pk(&secret).to_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_for_its_owner_and_context_only() {
        let owner = Identity::from_secrets([1; 32], [2; 32]);
        let other = Identity::from_secrets([1; 32], [3; 32]);
        let context = recipe_context(&"vm-1".parse().unwrap(), JobId(1));
        let sealed = seal(b"secret", &owner.seal_key(), &context);
        assert_eq!(sealed.len(), 32 + 6 + 16);
        assert_eq!(open(&sealed, &owner, &context).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(open(&sealed, &other, &context), None);
        assert_eq!(open(&sealed, &owner, &recipe_context(&"vm-1".parse().unwrap(), JobId(2))), None);
        assert_eq!(open(&sealed, &owner, &recipe_context(&"vm-2".parse().unwrap(), JobId(1))), None);
        for index in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[index] ^= 1;
            assert_eq!(open(&bent, &owner, &context), None, "byte {index}");
            assert_eq!(open(&sealed[..index], &owner, &context), None, "first {index} bytes");
        }
    }

    #[test]
    fn two_boxes_of_one_text_differ() {
        let owner = Identity::from_secrets([1; 32], [2; 32]);
        assert_ne!(seal(b"x", &owner.seal_key(), b""), seal(b"x", &owner.seal_key(), b""));
    }

    #[test]
    fn a_box_to_an_unusable_key_is_empty() {
        assert_eq!(seal(b"x", &SealKey([0; 32]), b""), Vec::<u8>::new());
    }
}
