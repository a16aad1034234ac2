//! The hash of a password as the shadow file has it: SHA-512 of crypt, which every libc checks.

use sha2::{Digest, Sha256, Sha512};

const MARK: &str = "$6$";
const ROUNDS: usize = 5000;
/// Longest that a password may be: the work grows with it.
pub(super) const PASSWORD_BYTES_MAX: usize = 256;
const SALT_LENGTH: usize = 16;
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The salt of a hash of this kind with the usual number of rounds.
pub(super) fn salt_of(hash: &str) -> Option<&str> {
    let (salt, _) = hash.trim_start_matches('!').strip_prefix(MARK)?.split_once('$')?;
    (!salt.starts_with("rounds=")).then_some(salt)
}

/// A salt for an account of a machine: another one for each of both, and the same each time, so that nothing random is
/// needed. The password has no part in it.
pub(super) fn salt_for(machine: &str, account: &str) -> String {
    let digest = Sha256::digest(format!("labctl password salt\n{machine}\n{account}\n"));
    digest.iter().take(SALT_LENGTH).map(|it| char::from(LETTERS[usize::from(it % 64)])).collect()
}

/// The hash of `password` with `salt`.
pub(super) fn hash(password: &str, salt: &str) -> String {
    let (key, salt) = (password.as_bytes(), &salt.as_bytes()[..salt.len().min(SALT_LENGTH)]);
    let alternate = Sha512::new().chain_update(key).chain_update(salt).chain_update(key).finalize();
    let mut first = Sha512::new().chain_update(key).chain_update(salt);
    first.update(repeated(&alternate, key.len()));
    let mut bits = key.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &alternate[..] } else { key });
        bits >>= 1;
    }
    let mut digest = first.finalize();
    let all_keys = (0..key.len()).fold(Sha512::new(), |it, _| it.chain_update(key)).finalize();
    let key_part = repeated(&all_keys, key.len());
    let salts = 16 + usize::from(digest[0]);
    let all_salts = (0..salts).fold(Sha512::new(), |it, _| it.chain_update(salt)).finalize();
    let salt_part = repeated(&all_salts, salt.len());
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let mut next = Sha512::new();
        next.update(if odd { &key_part[..] } else { &digest[..] });
        if round % 3 != 0 {
            next.update(&salt_part);
        }
        if round % 7 != 0 {
            next.update(&key_part);
        }
        next.update(if odd { &digest[..] } else { &key_part[..] });
        digest = next.finalize();
    }
    format!("{MARK}{}${}", String::from_utf8_lossy(salt), letters(&digest))
}

/// The first `length` bytes of `block`, block, block, ...
fn repeated(block: &[u8], length: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(length).collect()
}

/// Three bytes are four letters, in the order that crypt has.
fn letters(digest: &[u8]) -> String {
    let mut text = String::new();
    let mut put = |bytes: [u8; 3], count: usize| {
        let mut word = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for _ in 0..count {
            text.push(char::from(LETTERS[(word & 63) as usize]));
            word >>= 6;
        }
    };
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        put([digest[a], digest[b], digest[c]], 4);
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    put([0, 0, digest[63]], 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // From `openssl passwd -6 -salt`.
    #[test]
    fn hashes_are_those_of_other_programs() {
        for line in include_str!("crypt.txt").lines() {
            let (password, wanted) = line.split_once('\t').unwrap();
            let salt = salt_of(wanted).unwrap();
            assert_eq!(hash(password, salt), wanted, "{password}");
        }
    }

    #[test]
    fn each_account_of_each_machine_has_its_own_salt() {
        let salt = salt_for("m", "ada");
        assert_eq!(salt.len(), SALT_LENGTH);
        assert_eq!(salt, salt_for("m", "ada"));
        assert_ne!(salt, salt_for("m", "eve"));
        assert_ne!(salt, salt_for("n", "ada"));
        assert_eq!(salt_of("!$6$abc$x"), Some("abc"));
        for other in ["$5$abc$x", "$6$rounds=9$abc$x", "!", ""] {
            assert_eq!(salt_of(other), None, "{other}");
        }
    }
}
