//! Compares a password with what database servers keep of it: SCRAM of `PostgreSQL`, `caching_sha2_password` of `MySQL`.

use sha2::{Digest, Sha256};

/// Most rounds of a hash that are tried; servers use 4,096 and 5,000.
const ROUNDS_MAX: u32 = 200_000;

type Hash = [u8; 32];

fn sha256(parts: &[&[u8]]) -> Hash {
    parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Hash {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&sha256(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = block.map(|it| it ^ 0x36);
    let outer = block.map(|it| it ^ 0x5c);
    let all: Vec<&[u8]> = [&inner[..]].into_iter().chain(parts.iter().copied()).collect();
    sha256(&[&outer, &sha256(&all)])
}

/// Whether `verifier` (`SCRAM-SHA-256$ROUNDS:SALT$STORED:SERVER`) is one of this password; `None` if it is no verifier.
pub(crate) fn is_scram_of(verifier: &str, password: &str) -> Option<bool> {
    let (head, keys) = verifier.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (rounds, salt) = head.split_once(':')?;
    let rounds: u32 = rounds.parse().ok().filter(|it| (1..=ROUNDS_MAX).contains(it))?;
    let salt = base64(salt)?;
    let stored = base64(keys.split(':').next()?)?;
    let mut last = hmac(password.as_bytes(), &[&salt, &1_u32.to_be_bytes()]);
    let mut salted = last;
    for _ in 1..rounds {
        last = hmac(password.as_bytes(), &[&last]);
        salted.iter_mut().zip(last).for_each(|(sum, it)| *sum ^= it);
    }
    let client_key = hmac(&salted, &[b"Client Key"]);
    Some(sha256(&[&client_key])[..] == stored[..])
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for it in text.trim_end_matches('=').bytes() {
        let value = letters.iter().position(|letter| *letter == it)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(((bits >> held) & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// Whether `verifier` (`$A$ROUNDS$`, 20 bytes of salt, 43 letters) is one of this password; `None` if it is none.
pub(crate) fn is_caching_sha2_of(verifier: &[u8], password: &str) -> Option<bool> {
    let rest = verifier.strip_prefix(b"$A$")?;
    let rounds = u32::from_str_radix(std::str::from_utf8(rest.get(..3)?).ok()?, 16).ok()?;
    let rounds = rounds.checked_mul(1000).filter(|it| (1000..=ROUNDS_MAX).contains(it))?;
    let rest = rest.get(3..)?.strip_prefix(b"$")?;
    let (salt, digest) = (rest.get(..20)?, rest.get(20..)?);
    Some(sha256_crypt(password.as_bytes(), salt, rounds).as_bytes() == digest)
}

/// The digest of Drepper's SHA-crypt, as 43 letters.
fn sha256_crypt(password: &[u8], salt: &[u8], rounds: u32) -> String {
    let b = sha256(&[password, salt, password]);
    let mut a = Sha256::new().chain_update(password).chain_update(salt);
    a.update(repeated(&b, password.len()));
    let mut length = password.len();
    while length > 0 {
        a.update(if length & 1 == 1 { &b[..] } else { password });
        length >>= 1;
    }
    let mut digest: Hash = a.finalize().into();
    let p_hash = password.iter().fold(Sha256::new(), |hash, _| hash.chain_update(password)).finalize();
    let p = repeated(&p_hash.into(), password.len());
    let times = 16 + usize::from(digest[0]);
    let s_hash = (0..times).fold(Sha256::new(), |hash, _| hash.chain_update(salt)).finalize();
    let s = repeated(&s_hash.into(), salt.len());
    for round in 0..rounds {
        let mut parts: Vec<&[u8]> = vec![if round & 1 == 1 { &p } else { &digest }];
        if round % 3 != 0 {
            parts.push(&s);
        }
        if round % 7 != 0 {
            parts.push(&p);
        }
        parts.push(if round & 1 == 1 { &digest } else { &p });
        digest = sha256(&parts);
    }
    letters(&digest)
}

fn repeated(hash: &Hash, length: usize) -> Vec<u8> {
    hash.iter().copied().cycle().take(length).collect()
}

/// Its own order of bytes, six bits a letter, lowest first.
fn letters(digest: &Hash) -> String {
    let alphabet = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(43);
    let mut take = |high: u8, middle: u8, low: u8, count: usize| {
        let mut bits = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
        for _ in 0..count {
            text.push(char::from(alphabet[(bits & 0x3f) as usize]));
            bits >>= 6;
        }
    };
    let (mut x, mut y, mut z) = (0, 10, 20);
    for _ in 0..10 {
        take(digest[x], digest[y], digest[z], 4);
        (x, y, z) = ((z + 1) % 30, (x + 1) % 30, (y + 1) % 30);
    }
    take(0, digest[31], digest[30], 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn a_verifier_of_postgresql_tells_its_password() {
        // Recorded from PostgreSQL 15.
        let verifier = "SCRAM-SHA-256$4096:SNcsra8b6YB7RGCuqEpY0g==$UV6+fsnfYQnQL544Bj38bMFgbNhHNa9Nk2A0AOWGZuc=:Z18r6qscYndkACygO4DeEcGuFuTPsgZwe6/2T2NaORk=";
        assert_eq!(is_scram_of(verifier, "o'brien \\ x"), Some(true));
        assert_eq!(is_scram_of(verifier, "other"), Some(false));
        assert_eq!(is_scram_of("md5c4ca4238a0b923820dcc509a6f75849b", "1"), None);
        assert_eq!(is_scram_of("SCRAM-SHA-256$9999999999:AA==$AA==:AA==", "1"), None);
    }

    #[test]
    fn a_verifier_of_mysql_8_tells_its_password() {
        // The published example of this kind.
        let salt = hex("F9CC98CE08892924F50A213B6BC571A2C11778C5");
        let digest =
            hex("625479393559393965414D45316477456B484F41316E64484742577A2E3162785353526B7554584647562F");
        let verifier = [&b"$A$005$"[..], &salt, &digest].concat();
        assert_eq!(is_caching_sha2_of(&verifier, "hashcat"), Some(true));
        assert_eq!(is_caching_sha2_of(&verifier, "hashcats"), Some(false));
        assert_eq!(is_caching_sha2_of(b"*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4", "x"), None);
    }

    #[test]
    fn sha_crypt_gives_the_digests_of_its_specification() {
        let digest = sha256_crypt(b"Hello world!", b"saltstring", 5000);
        assert_eq!(digest, "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
    }
}
