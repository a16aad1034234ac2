//! TLS 1.3 with pinned keys both ways: names, dates and issuers in certificates are ignored.

use crate::{
    keys::{self, Identity, KeyError, PublicKey},
    seed::sha256,
};
use model::{ContentHash, broken};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

/// File of the master's TLS key.
const KEY_FILE: &str = "tls.pem";
/// File of the master's certificate.
const CERTIFICATE_FILE: &str = "tls.crt";
/// What stands before the 32 bytes of an ed25519 key in a `SubjectPublicKeyInfo`.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The master's TLS key (ECDSA P-256, for browsers) and self-signed certificate with its names.
pub struct MasterCertificate {
    key: KeyPair,
    der: CertificateDer<'static>,
    pem: String,
}

impl std::fmt::Debug for MasterCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterCertificate({})", self.pin())
    }
}

impl MasterCertificate {
    /// Loads `<dir>/tls.pem` (key) and `<dir>/tls.crt`, or makes them for `names` (host names and addresses).
    ///
    /// The certificate is made anew, with the same key and so the same pin, whenever it is not the one that this
    /// release makes for these names.
    pub fn load_or_create(dir: &Path, names: &[String]) -> Result<Self, KeyError> {
        let key = load_key(&dir.join(KEY_FILE))?;
        let (der, pem) = certificate(&key, names)?;
        let path = dir.join(CERTIFICATE_FILE);
        if let Some((der, pem)) = read_same(&path, &der) {
            return Ok(Self { key, der, pem });
        }
        keys::write_public(&path, pem.as_bytes())?;
        Ok(Self { key, der, pem })
    }
    /// The certificate for `--cafile`.
    pub fn certificate_pem(&self) -> String {
        self.pem.clone()
    }
    /// SHA-256 of its SPKI: what peers pin.
    pub fn pin(&self) -> ContentHash {
        sha256(&self.key.subject_public_key_info())
    }
    /// A server that asks for, but does not require, a client certificate; one that comes must prove an ed25519 key.
    /// `alpn` is empty for MQTT and `http/1.1` for HTTPS.
    ///
    /// No session tickets and no session cache: a full handshake costs a quarter of a millisecond, and nothing is kept
    /// for clients that may never return.
    pub fn server_config(&self, alpn: &[&str]) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("ring speaks TLS 1.3")
            .with_client_cert_verifier(Arc::new(AnyEd25519))
            .with_single_cert(vec![self.der.clone()], key)
            .expect("the certificate was made with the key");
        config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }
}

/// The key that a client proved, after the handshake.
pub fn peer_key(connection: &rustls::ServerConnection) -> Option<PublicKey> {
    ed25519_key(connection.peer_certificates()?.first()?)
}

/// A client that believes only servers whose SPKI hash is one of `pins`, and proves `identity` if there is one.
pub fn client_config(pins: &[ContentHash], identity: Option<&Identity>) -> Arc<rustls::ClientConfig> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pins: Pins::These(pins.to_vec()) }));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivatePkcs8KeyDer::from(identity.sign_pkcs8().to_vec());
            let pair = KeyPair::try_from(&key).expect("our own PKCS#8 is read");
            let certificate =
                CertificateParams::default().self_signed(&pair).expect("nothing in it can be wrong");
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key.into())
                .expect("the certificate was made with the key")
        }
    };
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// A client that believes any server, and shows nothing of itself: for texts that are signed themselves and secret to
/// nobody. Never for anything else.
pub fn anybody_config() -> Arc<rustls::ClientConfig> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pins: Pins::Any }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Installs ring as the process's provider; first thing in every `main`.
pub fn install_provider() {
    let _ = ring::default_provider().install_default();
}

/// One provider for all configurations of a process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

fn load_key(path: &Path) -> Result<KeyPair, KeyError> {
    match keys::read_private(path) {
        Ok(text) => KeyPair::from_pem_and_sign_algo(&text, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| KeyError::Malformed { path: path.to_owned(), wanted: "ECDSA P-256" }),
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let key =
                KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("the system has randomness");
            let text = zeroize::Zeroizing::new(key.serialize_pem());
            keys::write_private(path, text.as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// Everything in it but the signature follows from key and names, so that equal input means an equal certificate.
///
/// Not a CA, and with an end that strict clients take for far but thinkable. The serial number follows the names:
/// Firefox refuses two certificates of one issuer and number.
fn certificate(key: &KeyPair, names: &[String]) -> Result<(CertificateDer<'static>, String), KeyError> {
    let bad_name = |_| KeyError::Names { names: names.join(", ") };
    let mut params = CertificateParams::new(names).map_err(bad_name)?;
    let mut serial =
        sha256(format!("{}\0{}", sha256(&key.subject_public_key_info()), names.join("\0")).as_bytes()).0;
    serial[0] &= 0x7f;
    params.serial_number = Some(serial[..16].to_vec().into());
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "labmaster");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(key).map_err(bad_name)?;
    Ok((certificate.der().clone(), certificate.pem()))
}

/// The stored certificate, if it says what `fresh` says.
fn read_same(path: &Path, fresh: &CertificateDer<'_>) -> Option<(CertificateDer<'static>, String)> {
    use rustls::pki_types::pem::PemObject as _;
    let pem = std::fs::read_to_string(path).ok()?;
    let stored = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let same = signed_part(&stored)? == signed_part(fresh)?;
    same.then_some((stored, pem))
}

/// What a certificate's signature covers: the first element of the outer sequence. Both have lengths of two bytes.
fn signed_part(der: &[u8]) -> Option<&[u8]> {
    let inner = der.strip_prefix(&[0x30, 0x82])?.get(2..)?;
    let [0x30, 0x82, high, low, ..] = inner else { return None };
    inner.get(..4 + usize::from(u16::from_be_bytes([*high, *low])))
}

fn spki(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    Ok(ParsedCertificate::try_from(certificate)?.subject_public_key_info().to_vec())
}

fn ed25519_key(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    let spki = spki(certificate).ok()?;
    spki.strip_prefix(&ED25519_SPKI)?.try_into().ok().map(PublicKey)
}

/// TLS 1.2 is not compiled in; this is what its hooks say.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
}

/// Takes any client certificate that holds an ed25519 key. Who that is, the caller looks up.
#[derive(Debug)]
struct AnyEd25519;

impl ClientCertVerifier for AnyEd25519 {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if broken::leaves_out("ed25519-only") {
            return Ok(ClientCertVerified::assertion());
        }
        ed25519_key(end_entity)
            .map(|_| ClientCertVerified::assertion())
            .ok_or(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if broken::leaves_out("prove-possession") {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        if broken::leaves_out("ed25519-only") {
            return provider().signature_verification_algorithms.supported_schemes();
        }
        vec![SignatureScheme::ED25519]
    }
}

/// Why a server is not believed.
#[derive(Debug, thiserror::Error)]
#[error("the server's {NOT_PINNED}: it is not a master this machine trusts")]
struct NotPinned;

/// How a reason reads that a server's key is not trusted.
pub(crate) const NOT_PINNED: &str = "key is none of the pinned ones";

/// Takes a server certificate by the hash of its key.
#[derive(Debug)]
struct Pinned {
    pins: Pins,
}

#[derive(Debug)]
enum Pins {
    These(Vec<ContentHash>),
    /// What is said is believed for its own signature.
    Any,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let good = match &self.pins {
            Pins::These(pins) => {
                pins.contains(&sha256(&spki(end_entity)?)) || broken::leaves_out("pin-master")
            }
            Pins::Any => true,
        };
        if good { Ok(ServerCertVerified::assertion()) } else { Err(OtherError(Arc::new(NotPinned)).into()) }
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&it| it.to_owned()).collect()
    }

    fn master() -> (tempfile::TempDir, MasterCertificate) {
        let dir = tempfile::tempdir().unwrap();
        let certificate =
            MasterCertificate::load_or_create(dir.path(), &names(&["localhost", "127.0.0.1", "::1"]))
                .unwrap();
        (dir, certificate)
    }

    /// What the server learns of the client, if both are content.
    async fn handshake(
        master: &MasterCertificate,
        client: Arc<rustls::ClientConfig>,
    ) -> Result<Option<PublicKey>, String> {
        let (near, far) = duplex(16 * 1024);
        let server = async {
            let mut stream = tokio_rustls::TlsAcceptor::from(master.server_config(&[])).accept(far).await?;
            stream.write_all(b"!").await?;
            Ok::<_, io::Error>(peer_key(stream.get_ref().1))
        };
        let client = async {
            let name = ServerName::try_from("anything.example").unwrap();
            let mut stream = tokio_rustls::TlsConnector::from(client).connect(name, near).await?;
            stream.read_u8().await
        };
        let (server, client) = tokio::join!(server, client);
        client.map_err(|error| format!("client: {error}"))?;
        server.map_err(|error| format!("server: {error}"))
    }

    #[tokio::test]
    async fn both_sides_believe_keys_and_nothing_else() {
        let (_dir, master) = master();
        let identity = Identity::from_secrets([1; 32], [2; 32]);
        let other = ContentHash([7; 32]);
        let proven = handshake(&master, client_config(&[other, master.pin()], Some(&identity))).await;
        assert_eq!(proven, Ok(Some(identity.public())));
        assert_eq!(handshake(&master, client_config(&[master.pin()], None)).await, Ok(None));
        for pins in [&[][..], &[other]] {
            let refused = handshake(&master, client_config(pins, Some(&identity))).await.unwrap_err();
            assert!(refused.contains("client: ") && refused.contains("pinned"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_client_with_another_kind_of_key_or_anothers_certificate_is_refused() {
        let (_dir, master) = master();
        let connect = |certificate: CertificateDer<'static>, key: &KeyPair| {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let key = provider().key_provider.load_private_key(key).unwrap();
            let certified = rustls::sign::CertifiedKey::new(vec![certificate], key);
            let config = rustls::ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { pins: Pins::These(vec![master.pin()]) }))
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
            handshake(&master, Arc::new(config))
        };
        let make = |kind| {
            let key = KeyPair::generate_for(kind).unwrap();
            (CertificateParams::default().self_signed(&key).unwrap().der().clone(), key)
        };
        let (ours, our_key) = make(&rcgen::PKCS_ED25519);
        let (theirs, _) = make(&rcgen::PKCS_ED25519);
        assert!(connect(ours, &our_key).await.unwrap().is_some());
        let refused = connect(theirs, &our_key).await.unwrap_err();
        assert!(refused.contains("client: "), "{refused}");
        let (p256, p256_key) = make(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert!(!matches!(connect(p256, &p256_key).await, Ok(Some(_))));
    }

    #[test]
    fn the_certificate_is_kept_until_its_names_change_and_the_key_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let load = |all: &[&str]| MasterCertificate::load_or_create(dir.path(), &names(all)).unwrap();
        let first = load(&["lab.home"]);
        assert_eq!(first.certificate_pem(), load(&["lab.home"]).certificate_pem());
        let renewed = load(&["lab.home", "10.0.0.1"]);
        assert_ne!(first.certificate_pem(), renewed.certificate_pem());
        assert_eq!(first.pin(), renewed.pin());
        std::fs::write(dir.path().join(CERTIFICATE_FILE), "broken").unwrap();
        assert_eq!(load(&["lab.home"]).pin(), first.pin());
        let error = MasterCertificate::load_or_create(dir.path(), &names(&["höme"])).unwrap_err();
        assert!(matches!(error, KeyError::Names { .. }), "{error}");
        std::fs::write(dir.path().join(KEY_FILE), "broken").unwrap();
        let error = MasterCertificate::load_or_create(dir.path(), &names(&["lab.home"])).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
    }

    #[test]
    fn openssl_verifies_the_certificate_by_file_and_name() {
        let (dir, _) = master();
        let path = dir.path().join(CERTIFICATE_FILE);
        let path = path.to_str().unwrap();
        if Command::new("openssl").arg("version").output().is_err() {
            return;
        }
        let verify = |name: &[&str]| {
            let mut command = Command::new("openssl");
            command
                .args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", path])
                .args(name)
                .arg(path);
            command.output().unwrap().status.success()
        };
        assert!(verify(&["-verify_hostname", "localhost"]));
        assert!(verify(&["-verify_ip", "127.0.0.1"]));
        assert!(verify(&["-verify_ip", "::1"]));
        assert!(!verify(&["-verify_hostname", "other"]));
    }
}
