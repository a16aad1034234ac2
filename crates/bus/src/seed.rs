//! The seed: what an image or a VM is given so that it can enrol.

use crate::{
    keys::{self, Identity, PublicKey},
    masters::Masters,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use model::{ContentHash, Fingerprint, MinionId, Secret, TokenTerms, broken};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Format version that is read.
const VERSION: u32 = 1;
/// Longest seed.
pub const SEED_MAX: usize = 128 * 1024;
/// Longest token statement.
pub const STATEMENT_MAX: usize = 2 * 1024;
/// What is put before the terms to sign them.
const TOKEN_PREFIX: &[u8] = b"lab1-token\0";

/// The seed file, JSON, written by `labctl key enroll` and read by `labminion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Format version: 1.
    pub v: u32,
    /// Org public key, unpadded base64url.
    pub org: String,
    /// Text of `masters.json`, signed.
    pub masters: String,
    /// Id, if the seed is for one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MinionId>,
    /// Token, if it has one; without, the machine waits in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SeedToken>,
}

/// An image token: a signed statement and the image key that must sign requests. The private key never travels.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedToken {
    /// From [`sign_terms`].
    pub statement: String,
    /// Secret of the image key, 32 bytes, unpadded base64url.
    pub image_secret: Secret,
}

impl std::fmt::Debug for SeedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeedToken(..)")
    }
}

impl Seed {
    /// Reads a seed file's text; the error names what is wrong.
    ///
    /// The list of masters in it is checked against the organization's key.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > SEED_MAX {
            return Err(format!("the seed is longer than {SEED_MAX} bytes"));
        }
        let seed: Self =
            serde_json::from_str(text).map_err(|error| format!("the seed is malformed: {error}"))?;
        if seed.v != VERSION {
            return Err(format!("the seed has version {}, this release reads version {VERSION}", seed.v));
        }
        let org = PublicKey::from_text(&seed.org).ok_or("the seed's `org` is no public key")?;
        Masters::open(&seed.masters, &org).map_err(|error| error.to_string())?;
        let bad_token =
            |token: &SeedToken| image_key(token).is_none() || token.statement.len() > STATEMENT_MAX;
        if seed.token.as_ref().is_some_and(bad_token) {
            return Err("the seed's `token` is malformed".to_owned());
        }
        Ok(seed)
    }
}

fn image_key(token: &SeedToken) -> Option<SigningKey> {
    let secret = keys::Secret::new(keys::decode(token.image_secret.reveal())?);
    Some(SigningKey::from_bytes(&secret))
}

/// A new image key for `terms`: the secret for the seed and the public half for the terms, both as text.
pub fn new_image_key() -> (Secret, String) {
    let secret = keys::random_secret();
    let public = PublicKey(SigningKey::from_bytes(&secret).verifying_key().to_bytes());
    (Secret::new(keys::encode(secret.as_slice())), public.to_text())
}

/// The statement: `<base64url of the JSON>.<base64url of the signature over "lab1-token\0" and the JSON>`.
pub fn sign_terms(terms: &TokenTerms, issuer: &Identity) -> String {
    let json = serde_json::to_vec(terms).expect("strings and numbers are JSON");
    let signature = issuer.sign(&[TOKEN_PREFIX, &json].concat());
    format!("{}.{}", keys::encode(&json), keys::encode(&signature))
}

/// Checks a statement; `None` if it was not signed by `issuer`.
pub fn open_terms(statement: &str, issuer: &PublicKey) -> Option<TokenTerms> {
    if statement.len() > STATEMENT_MAX {
        return None;
    }
    let (json, signature) = statement.split_once('.')?;
    let json = URL_SAFE_NO_PAD.decode(json).ok()?;
    let good = issuer.verify(&[TOKEN_PREFIX, &json].concat(), &keys::decode(signature)?);
    if good || broken::leaves_out("token-signature") { serde_json::from_slice(&json).ok() } else { None }
}

fn request_bytes(key: &Fingerprint, id: &MinionId) -> Vec<u8> {
    format!("lab1-image\0{key}\0{id}").into_bytes()
}

/// The image key's signature for one request.
pub fn sign_request(token: &SeedToken, key: &Fingerprint, id: &MinionId) -> Option<String> {
    Some(keys::encode(&image_key(token)?.sign(&request_bytes(key, id)).to_bytes()))
}

/// Checks it.
pub fn verify_request(terms: &TokenTerms, signature: &str, key: &Fingerprint, id: &MinionId) -> bool {
    if broken::leaves_out("image-signature") {
        return true;
    }
    PublicKey::from_text(&terms.image_key)
        .zip(keys::decode(signature))
        .is_some_and(|(image, signature)| image.verify(&request_bytes(key, id), &signature))
}

/// Hash of bytes, as everywhere on the bus.
pub fn sha256(bytes: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Labels, Replace, Timestamp};

    fn terms(image_key: String) -> TokenTerms {
        TokenTerms {
            name: "bake-7".to_owned(),
            image_key,
            ids: "web-*".to_owned(),
            labels: Labels::default(),
            cidr: vec!["10.0.0.0/8".to_owned()],
            not_before: Timestamp(1),
            expires: Timestamp(2),
            uses: 3,
            replace: Replace::Never,
            retire_after_ms: None,
        }
    }

    fn seed(org: &Identity) -> Seed {
        let (image_secret, image_key) = new_image_key();
        let statement = sign_terms(&terms(image_key), org);
        let masters = Masters { version: 1, masters: Vec::new() }.sign(org);
        let token = Some(SeedToken { statement, image_secret });
        Seed { v: 1, org: org.public().to_text(), masters, id: None, token }
    }

    #[test]
    fn a_token_is_good_for_its_issuer_key_and_request_only() {
        let org = Identity::from_secrets([1; 32], [2; 32]);
        let other = Identity::from_secrets([3; 32], [2; 32]);
        let token = seed(&org).token.unwrap();
        let terms = open_terms(&token.statement, &org.public()).unwrap();
        assert_eq!(terms.name, "bake-7");
        assert_eq!(open_terms(&token.statement, &other.public()), None);
        assert_eq!(open_terms(&token.statement.replacen('e', "f", 1), &org.public()), None);
        let key = other.public().fingerprint();
        let [web, db]: [MinionId; 2] = ["web-1".parse().unwrap(), "db-1".parse().unwrap()];
        let signature = sign_request(&token, &key, &web).unwrap();
        assert!(verify_request(&terms, &signature, &key, &web));
        assert!(!verify_request(&terms, &signature, &key, &db));
        assert!(!verify_request(&terms, &signature, &org.public().fingerprint(), &web));
        assert!(!verify_request(&terms, "AAAA", &key, &web));
        assert!(!format!("{token:?}").contains(token.image_secret.reveal()));
    }

    #[test]
    fn a_seed_survives_its_text() {
        let seed = seed(&Identity::from_secrets([1; 32], [2; 32]));
        assert_eq!(Seed::parse(&serde_json::to_string_pretty(&seed).unwrap()), Ok(seed));
    }

    #[test]
    fn what_is_wrong_with_a_seed_is_named() {
        let org = Identity::from_secrets([1; 32], [2; 32]);
        let good = seed(&org);
        let foreign = Identity::from_secrets([3; 32], [2; 32]).public().to_text();
        let token = SeedToken { statement: String::new(), image_secret: Secret::new("short") };
        for (seed, word) in [
            (Seed { v: 2, ..good.clone() }, "version 2"),
            (Seed { org: "x".to_owned(), ..good.clone() }, "`org`"),
            (Seed { org: foreign, ..good.clone() }, "not signed"),
            (Seed { masters: "{}".to_owned(), ..good.clone() }, "masters.json is malformed"),
            (Seed { token: Some(token), ..good }, "`token`"),
        ] {
            let error = Seed::parse(&serde_json::to_string(&seed).unwrap()).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(Seed::parse("{\"v\":1,\"or\":2}").unwrap_err().contains("or"));
        assert!(Seed::parse(&" ".repeat(SEED_MAX + 1)).unwrap_err().contains("longer"));
    }
}
