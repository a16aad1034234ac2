//! ed25519 keys for signing, X25519 keys for sealing, on disk as PKCS#8 PEM of mode 0600.

use base64::{Engine as _, engine::general_purpose as base64_engine};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use model::{Fingerprint, broken};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Longest key file that is read.
const FILE_MAX: u64 = 16 * 1024;
/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// First line of every key file.
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
/// Last line of every key file.
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// A private identity: one key to sign with and one to open sealed boxes with. Cannot be printed.
pub struct Identity {
    sign: SigningKey,
    seal: Zeroizing<[u8; 32]>,
    seal_public: SealKey,
}

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// An infinitive.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error("`{path}` can be read by others (mode {mode:04o}): chmod 0600 it, and consider the key stolen")]
    TooWide {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key of the kind.
    #[error("`{path}` holds no {wanted} private key in PKCS#8 PEM")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// `ed25519`, `X25519` or `ECDSA P-256`.
        wanted: &'static str,
    },
    /// A certificate cannot be made for these names.
    #[error("no certificate can be made for {names}: give host names and addresses")]
    Names {
        /// All of them.
        names: String,
    },
}

impl Identity {
    /// A new one, from the system's randomness.
    pub fn generate() -> Self {
        Self::new(&random_secret(), random_secret())
    }
    /// Two secrets of 32 bytes: for tests and simulations.
    pub fn from_secrets(sign: [u8; 32], seal: [u8; 32]) -> Self {
        Self::new(&Zeroizing::new(sign), Zeroizing::new(seal))
    }
    fn new(sign: &Secret, seal: Secret) -> Self {
        let seal_public = crate::seal::public_of(&seal);
        Self { sign: SigningKey::from_bytes(sign), seal, seal_public }
    }
    /// From `<dir>/<name>.pem` and `<dir>/<name>-seal.pem`.
    pub fn load(dir: &Path, name: &str) -> Result<Self, KeyError> {
        let sign = read_secret(&dir.join(format!("{name}.pem")), Kind::Ed25519)?;
        let seal = read_secret(&dir.join(format!("{name}-seal.pem")), Kind::X25519)?;
        Ok(Self::new(&sign, seal))
    }
    /// To sign with only, from one file wherever it lies: an org key that is kept elsewhere.
    pub fn load_to_sign(path: &Path) -> Result<Self, KeyError> {
        Ok(Self::new(&read_secret(path, Kind::Ed25519)?, random_secret()))
    }
    /// Loads, or makes and writes (mode 0600 from the start, synced, renamed into place, folder synced).
    ///
    /// Each of the two files is made if it is missing, so that a crash between them heals itself.
    pub fn load_or_create(dir: &Path, name: &str) -> Result<Self, KeyError> {
        let sign = read_or_create(&dir.join(format!("{name}.pem")), Kind::Ed25519)?;
        let seal = read_or_create(&dir.join(format!("{name}-seal.pem")), Kind::X25519)?;
        Ok(Self::new(&sign, seal))
    }
    /// Writes both keys to `<dir>/<name>.pem` and `<dir>/<name>-seal.pem`, replacing what is there.
    pub fn store(&self, dir: &Path, name: &str) -> Result<(), KeyError> {
        let sign = pem(Kind::Ed25519, self.sign.as_bytes());
        let seal = pem(Kind::X25519, &self.seal);
        write_private(&dir.join(format!("{name}.pem")), sign.as_bytes())?;
        write_private(&dir.join(format!("{name}-seal.pem")), seal.as_bytes())
    }
    /// Signs bytes.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.sign.sign(bytes).to_bytes()
    }
    /// The public half for signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.sign.verifying_key().to_bytes())
    }
    /// The public half for sealing.
    pub fn seal_key(&self) -> SealKey {
        self.seal_public
    }
    /// The signing key as PKCS#8 v1 DER, for TLS.
    pub(crate) fn sign_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        pkcs8(Kind::Ed25519, self.sign.as_bytes())
    }
    /// The secret that opens sealed boxes.
    pub(crate) fn seal_secret(&self) -> &[u8; 32] {
        &self.seal
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.public().fingerprint())
    }
}

/// A raw ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.fingerprint())
    }
}

impl PublicKey {
    /// From unpadded base64url.
    pub fn from_text(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }
    /// As unpadded base64url.
    pub fn to_text(self) -> String {
        encode(&self.0)
    }
    /// `SHA256:...`
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = base64_engine::STANDARD_NO_PAD.encode(Sha256::digest(self.0));
        format!("SHA256:{digest}").parse().expect("43 characters of base64 make a fingerprint")
    }
    /// Strict verification.
    pub fn verify(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(bytes, &signature.into()).is_ok())
    }
}

/// A raw X25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl SealKey {
    /// From unpadded base64url. `None` also for the few points nothing can be sealed to.
    pub fn from_text(text: &str) -> Option<Self> {
        decode(text).map(Self).filter(crate::seal::usable)
    }
    /// As unpadded base64url.
    pub fn to_text(self) -> String {
        encode(&self.0)
    }
}

/// Bytes as unpadded base64url: how keys and signatures travel.
pub(crate) fn encode(bytes: &[u8]) -> String {
    base64_engine::URL_SAFE_NO_PAD.encode(bytes)
}

/// Exactly `N` bytes from unpadded base64url.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    base64_engine::URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// A secret that is wiped when it is dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// 32 bytes of the system's randomness.
pub(crate) fn random_secret() -> Secret {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut()).expect("the system has randomness");
    secret
}

#[derive(Clone, Copy)]
enum Kind {
    Ed25519,
    X25519,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::X25519 => "X25519",
        }
    }
    /// PKCS#8 version 1 up to the secret: version 2 (with the public key inside) is refused by OpenSSL 3.
    fn prefix(self) -> [u8; 16] {
        let last_of_oid = match self {
            Self::Ed25519 => 0x70,
            Self::X25519 => 0x6e,
        };
        let [seq, int, oid] = [[0x30, 0x2e], [0x02, 0x01], [0x06, 0x03]];
        [
            seq[0],
            seq[1],
            int[0],
            int[1],
            0x00,
            0x30,
            0x05,
            oid[0],
            oid[1],
            0x2b,
            0x65,
            last_of_oid,
            0x04,
            0x22,
            0x04,
            0x20,
        ]
    }
}

fn pkcs8(kind: Kind, secret: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([kind.prefix().as_slice(), secret].concat())
}

fn pem(kind: Kind, secret: &[u8; 32]) -> Zeroizing<String> {
    let body = Zeroizing::new(base64_engine::STANDARD.encode(&*pkcs8(kind, secret)));
    Zeroizing::new(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", &*body))
}

fn parse_pem(kind: Kind, text: &str) -> Option<Secret> {
    let body = text.split_once(PEM_BEGIN)?.1.split_once(PEM_END)?.0;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    let der = Zeroizing::new(base64_engine::STANDARD.decode(body.as_bytes()).ok()?);
    let secret = der.strip_prefix(kind.prefix().as_slice())?;
    Some(Zeroizing::new(secret.try_into().ok()?))
}

fn read_secret(path: &Path, kind: Kind) -> Result<Secret, KeyError> {
    let text = read_private(path)?;
    parse_pem(kind, &text).ok_or_else(|| KeyError::Malformed { path: path.to_owned(), wanted: kind.name() })
}

fn read_or_create(path: &Path, kind: Kind) -> Result<Secret, KeyError> {
    match read_secret(path, kind) {
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let secret = random_secret();
            write_private(path, pem(kind, &secret).as_bytes())?;
            Ok(secret)
        }
        other => other,
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::Io { action, path: path.to_owned(), source }
}

/// Reads a secret file that only its owner can read.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let file = File::open(path).map_err(io_error("read", path))?;
    let mode = file.metadata().map_err(io_error("read", path))?.mode() & 0o7777;
    if mode & OTHERS != 0 && !broken::leaves_out("key-mode") {
        return Err(KeyError::TooWide { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_MAX).read_to_string(&mut text).map_err(io_error("read", path))?;
    Ok(text)
}

/// Writes a secret file: mode 0600 before the first byte, synced, renamed into place, folder synced. Makes the folder
/// (0700) if it is missing.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_with_mode(path, bytes, 0o600).map_err(io_error("write", path))
}

/// The same for a file that is no secret (0644).
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_with_mode(path, bytes, 0o644).map_err(io_error("write", path))
}

fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut random = [0; 9];
    getrandom::fill(&mut random).expect("the system has randomness");
    let beside = folder.join(format!(".{}.new", encode(&random)));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    if let Err(error) = written() {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt as _, process::Command};

    #[test]
    fn an_identity_survives_the_disk_and_its_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let made = Identity::load_or_create(&dir, "minion").unwrap();
        let again = Identity::load_or_create(&dir, "minion").unwrap();
        let loaded = Identity::load(&dir, "minion").unwrap();
        assert_eq!(made.public(), again.public());
        assert_eq!(made.public(), loaded.public());
        assert_eq!(made.seal_key(), loaded.seal_key());
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600);
                entry.file_name().into_string().unwrap()
            })
            .collect();
        names.sort();
        assert_eq!(names, ["minion-seal.pem", "minion.pem"]);
    }

    #[test]
    fn a_crash_between_the_two_files_heals_itself() {
        let dir = tempfile::tempdir().unwrap();
        let made = Identity::load_or_create(dir.path(), "a").unwrap();
        std::fs::remove_file(dir.path().join("a-seal.pem")).unwrap();
        assert!(Identity::load(dir.path(), "a").is_err());
        let healed = Identity::load_or_create(dir.path(), "a").unwrap();
        assert_eq!(made.public(), healed.public());
        assert_ne!(made.seal_key(), healed.seal_key());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_create(dir.path(), "a").unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            let path = dir.path().join("a.pem");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Identity::load_or_create(dir.path(), "a").unwrap_err();
            assert!(matches!(error, KeyError::TooWide { mode: found, .. } if found == mode), "{error}");
        }
    }

    #[test]
    fn a_file_that_holds_no_key_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let other = Identity::load_or_create(dir.path(), "a").unwrap();
        drop(other);
        for text in ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            write_private(&dir.path().join("a.pem"), text.as_bytes()).unwrap();
            let error = Identity::load_or_create(dir.path(), "a").unwrap_err();
            assert!(matches!(error, KeyError::Malformed { wanted: "ed25519", .. }), "{error}");
        }
        std::fs::copy(dir.path().join("a-seal.pem"), dir.path().join("a.pem")).unwrap();
        assert!(matches!(Identity::load(dir.path(), "a"), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn openssl_reads_our_keys_and_we_read_those_of_openssl() {
        if Command::new("openssl").arg("version").output().is_err() {
            return;
        }
        let openssl = |arguments: &[&str], path: &Path| {
            let output = Command::new("openssl").args(arguments).arg(path).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(dir.path(), "a").unwrap();
        let read = ["pkey", "-pubout", "-outform", "DER", "-in"];
        assert!(openssl(&read, &dir.path().join("a.pem")).ends_with(&identity.public().0));
        assert!(openssl(&read, &dir.path().join("a-seal.pem")).ends_with(&identity.seal_key().0));
        for (algorithm, name) in [("ed25519", "b.pem"), ("x25519", "b-seal.pem")] {
            let path = dir.path().join(name);
            openssl(&["genpkey", "-algorithm", algorithm, "-out"], &path);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let theirs = Identity::load(dir.path(), "b").unwrap();
        assert!(openssl(&read, &dir.path().join("b.pem")).ends_with(&theirs.public().0));
        assert!(openssl(&read, &dir.path().join("b-seal.pem")).ends_with(&theirs.seal_key().0));
    }

    #[test]
    fn public_keys_print_and_parse_to_the_same_and_nothing_else_parses() {
        let identity = Identity::from_secrets([1; 32], [2; 32]);
        assert_eq!(PublicKey::from_text(&identity.public().to_text()), Some(identity.public()));
        assert_eq!(SealKey::from_text(&identity.seal_key().to_text()), Some(identity.seal_key()));
        for text in
            ["", "AAAA", &"A".repeat(44), &"=".repeat(43), &format!("{}=", identity.public().to_text())]
        {
            assert_eq!(PublicKey::from_text(text), None, "{text}");
            assert_eq!(SealKey::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_can_be_sealed_to_a_point_of_low_order() {
        let mut one = [0; 32];
        one[0] = 1;
        for weak in [[0; 32], one] {
            assert_eq!(SealKey::from_text(&SealKey(weak).to_text()), None);
        }
    }

    #[test]
    fn a_signature_is_good_for_its_bytes_and_key_only() {
        let identity = Identity::from_secrets([1; 32], [2; 32]);
        let signature = identity.sign(b"hello");
        assert!(identity.public().verify(b"hello", &signature));
        assert!(!identity.public().verify(b"hellp", &signature));
        assert!(!Identity::from_secrets([3; 32], [2; 32]).public().verify(b"hello", &signature));
        assert!(!PublicKey([0xff; 32]).verify(b"hello", &signature));
    }

    #[test]
    fn an_identity_prints_its_fingerprint_only() {
        let identity = Identity::from_secrets([1; 32], [2; 32]);
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.public().fingerprint()));
    }
}
