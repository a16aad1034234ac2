//! How each sender shows that it knows a hook's secret. What a request claims is read from its head, and is checked over
//! its body as that comes, before anything of it is understood.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use lang::hooks::Recipe;
use model::{Secret, Timestamp, broken, same_text};
use sha2::{Digest, Sha256};

/// Milliseconds between the sender's clock and ours.
const WINDOW_MS: u64 = 5 * 60_000;
/// Bytes of a header that says something here.
const HEADER_BYTES_MAX: usize = 1_024;
/// Signatures in one header, while a sender changes its secret.
const SIGNATURES_MAX: usize = 4;
/// How long what cannot tell one delivery from another is taken for the same one, in milliseconds.
const RETRY_MS: u64 = 60_000;
/// A secret that GitLab signs with, and never sends.
const SIGNING: &str = "whsec_";

type Sha256Mac = Hmac<Sha256>;

/// Headers by name in small letters.
pub(crate) type Headers<'f, 'a> = &'f dyn Fn(&str) -> Option<&'a str>;

/// What a request says of itself, before it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The body is signed, with this before it.
    Signed {
        given: Vec<[u8; 32]>,
        before: Vec<u8>,
        /// By the sender's clock.
        at: Option<Timestamp>,
        /// What is signed and told apart by it.
        id: Option<String>,
    },
    /// The secret itself.
    Told(Secret),
}

/// A body that is being checked.
#[derive(Debug)]
pub(crate) struct Check {
    claim: Claim,
    macs: Vec<Sha256Mac>,
    told: bool,
    body: Sha256,
}

/// What is remembered of a delivery, so that it is taken once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Tells it apart from all others of its hook.
    pub text: String,
    /// For so long; none is as long as there is room.
    pub for_ms: Option<u64>,
}

impl Mark {
    /// Of any text.
    fn of(text: &str, for_ms: Option<u64>) -> Self {
        Self { text: hex(&Sha256::digest(text.as_bytes())[..16]), for_ms }
    }
}

/// The number of a delivery that its sender says again when it tries again. Only the secret makes it worth something:
/// where a body is signed without it, the body tells deliveries apart.
pub(crate) fn delivery<'a>(recipe: Recipe, headers: Headers<'_, 'a>) -> Option<&'a str> {
    match recipe {
        Recipe::Generic => header(headers, "x-lab-delivery"),
        Recipe::Gitlab => {
            header(headers, "idempotency-key").or_else(|| header(headers, "x-gitlab-event-uuid"))
        }
        Recipe::Gitea | Recipe::Github | Recipe::Alertmanager | Recipe::UptimeKuma => None,
    }
}

fn header<'a>(headers: Headers<'_, 'a>, name: &str) -> Option<&'a str> {
    headers(name).filter(|it| it.len() <= HEADER_BYTES_MAX)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, it| {
        let _ = write!(text, "{it:02x}");
        text
    })
}

fn seconds(text: &str) -> Option<Timestamp> {
    let seconds: u64 = text.parse().ok()?;
    seconds.checked_mul(1_000).map(Timestamp)
}

fn body_only(given: [u8; 32]) -> Claim {
    Claim::Signed { given: vec![given], before: Vec::new(), at: None, id: None }
}

impl Claim {
    /// What a request to a hook of this recipe claims; none if it says nothing that could be right.
    pub(crate) fn of(recipe: Recipe, headers: Headers<'_, '_>) -> Option<Self> {
        match recipe {
            Recipe::Generic => generic(header(headers, "x-lab-signature")?),
            Recipe::Gitea => ["x-gitea-signature", "x-forgejo-signature"]
                .into_iter()
                .find_map(|it| unhex(header(headers, it)?))
                .map(body_only)
                .or_else(|| hub(headers)),
            Recipe::Github => hub(headers),
            Recipe::Gitlab => match header(headers, "webhook-signature") {
                Some(text) => standard(text, headers),
                None => header(headers, "x-gitlab-token").map(|it| Self::Told(Secret::new(it))),
            },
            Recipe::Alertmanager | Recipe::UptimeKuma => bearer(header(headers, "authorization")?),
        }
    }

    /// As [`Claim::of`] for a hook that nobody knows: who asks for it learns by the answer that it claimed nothing, and
    /// never whether there is such a hook.
    pub(crate) fn of_any(headers: Headers<'_, '_>) -> Option<Self> {
        Recipe::ALL.into_iter().find_map(|it| Self::of(it, headers))
    }
}

/// `t=1700000000,v1=<hex>`; the body is signed behind `1700000000.`.
fn generic(text: &str) -> Option<Claim> {
    let (mut time, mut given) = (None, Vec::new());
    for part in text.split(',').map(str::trim) {
        match part.split_once('=')? {
            ("t", value) => time = Some(value),
            ("v1", value) => given.push(unhex(value)?),
            _ => {}
        }
    }
    let time = time?;
    let good = (1..=SIGNATURES_MAX).contains(&given.len());
    let claim = |at| Claim::Signed { given, before: format!("{time}.").into_bytes(), at: Some(at), id: None };
    seconds(time).filter(|_| good).map(claim)
}

/// `sha256=<hex>` over the body.
fn hub(headers: Headers<'_, '_>) -> Option<Claim> {
    let text = header(headers, "x-hub-signature-256")?.strip_prefix("sha256=")?;
    unhex(text).map(body_only)
}

/// `v1,<base64>`, several of them with spaces between, over `id.time.body`.
fn standard(text: &str, headers: Headers<'_, '_>) -> Option<Claim> {
    let (id, time) = (header(headers, "webhook-id")?, header(headers, "webhook-timestamp")?);
    let one = |text: &str| STANDARD.decode(text.strip_prefix("v1,")?).ok()?.try_into().ok();
    let given: Vec<[u8; 32]> = text.split(' ').take(SIGNATURES_MAX).filter_map(one).collect();
    let before = format!("{id}.{time}.").into_bytes();
    let at = Some(seconds(time)?);
    (!given.is_empty()).then(|| Claim::Signed { given, before, at, id: Some(id.to_owned()) })
}

/// `Bearer SECRET`, or `Basic` with the secret for a password.
fn bearer(text: &str) -> Option<Claim> {
    let (scheme, rest) = text.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Claim::Told(Secret::new(rest.trim())));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    plain.split_once(':').map(|(_, password)| Claim::Told(Secret::new(password)))
}

/// What a secret signs with: GitLab's signing tokens are base64 behind a prefix.
fn key_of(secret: &str) -> Vec<u8> {
    let coded = secret.strip_prefix(SIGNING).and_then(|it| STANDARD.decode(it).ok());
    coded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

impl Check {
    /// Of a claim, by these secrets; with none, nothing is right.
    pub(crate) fn new(claim: Claim, secrets: &[Secret]) -> Self {
        let (mut macs, mut told) = (Vec::new(), false);
        match &claim {
            Claim::Signed { before, .. } => {
                for secret in secrets {
                    let key = key_of(secret.reveal());
                    let mut mac = Sha256Mac::new_from_slice(&key).expect("a key may have any length");
                    mac.update(before);
                    macs.push(mac);
                }
            }
            Claim::Told(given) => {
                for secret in secrets {
                    // All are compared, and who signs with one never sends it.
                    let same = same_text(secret.reveal(), given.reveal());
                    told |= same && !secret.reveal().starts_with(SIGNING);
                }
            }
        }
        Self { claim, macs, told, body: Sha256::new() }
    }

    /// More of the body.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.macs.iter_mut().for_each(|it| it.update(bytes));
        self.body.update(bytes);
    }

    /// Whether it is right, and what is remembered of it; `delivery` is its number, if its sender says one.
    pub(crate) fn finish(self, delivery: Option<&str>, now: Timestamp) -> Result<Vec<Mark>, &'static str> {
        let body = hex(&self.body.finalize());
        let said = delivery.map(|it| Mark::of(&format!("delivery {it}"), None));
        let marks = |mark| std::iter::once(mark).chain(said.clone()).collect();
        match self.claim {
            _ if broken::leaves_out("hook-signature") => Ok(Vec::new()),
            Claim::Told(_) if self.told => Ok(marks(Mark::of(&body, Some(RETRY_MS)))),
            Claim::Told(_) => Err("not its secret"),
            Claim::Signed { given, at, id, .. } => {
                let mut right = false;
                for mac in &self.macs {
                    for one in &given {
                        right |= mac.clone().verify_slice(one).is_ok();
                    }
                }
                if !right {
                    return Err("its signature is not right");
                }
                let apart = |at: Timestamp| now.since_ms(at).max(at.since_ms(now)) > WINDOW_MS;
                if at.is_some_and(apart) && !broken::leaves_out("hook-time") {
                    return Err("it was signed more than five minutes before or after now");
                }
                let mark = match (id, at) {
                    (Some(id), _) => format!("id {id}"),
                    // The same body may well be sent again, and is then signed with another time.
                    (None, Some(at)) => format!("{} {body}", at.0),
                    (None, None) => body,
                };
                Ok(marks(Mark::of(&mark, None)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";

    fn judge(
        recipe: Recipe,
        secret: &str,
        headers: &[(&str, &str)],
        body: &str,
        now: u64,
    ) -> Result<Vec<Mark>, String> {
        let get = |name: &str| headers.iter().find(|it| it.0 == name).map(|it| it.1);
        let claim = Claim::of(recipe, &get).ok_or("claims nothing")?;
        let mut check = Check::new(claim, &[Secret::new(secret)]);
        // In pieces, as it comes.
        body.as_bytes().chunks(3).for_each(|it| check.update(it));
        check.finish(delivery(recipe, &get), Timestamp(now * 1_000)).map_err(str::to_owned)
    }

    fn sign(secret: &str, text: &str) -> [u8; 32] {
        let mut mac = Sha256Mac::new_from_slice(&key_of(secret)).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    #[test]
    fn the_example_that_github_publishes_is_right() {
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let good = |body| judge(Recipe::Github, SECRET, &[("x-hub-signature-256", signature)], body, 0);
        assert!(good("Hello, World!").is_ok());
        assert_eq!(good("Hello, World?").unwrap_err(), "its signature is not right");
        let gitea = judge(Recipe::Gitea, SECRET, &[("x-hub-signature-256", signature)], "Hello, World!", 0);
        assert_eq!(gitea, good("Hello, World!"), "Gitea sends it too");
        let bare = [("x-gitea-signature", &signature[7..])];
        assert!(judge(Recipe::Gitea, SECRET, &bare, "Hello, World!", 0).is_ok());
        for bad in [
            "",
            "sha256=",
            "sha1=757107ea",
            &signature[..70],
            &signature[7..],
            &signature.replace("75", "zz"),
        ] {
            let told = judge(Recipe::Github, SECRET, &[("x-hub-signature-256", bad)], "Hello, World!", 0);
            assert_eq!(told.unwrap_err(), "claims nothing", "{bad}");
        }
    }

    #[test]
    fn the_example_of_standard_webhooks_is_right_in_its_time() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            // Sent beside it by who has both: it does not count.
            ("x-gitlab-token", "anything"),
        ];
        let body = r#"{"test": 2432232314}"#;
        let marks = judge(Recipe::Gitlab, secret, &headers, body, 1_614_265_330).unwrap();
        assert_eq!(marks, [Mark::of("id msg_p5jXN8AQM9LWM0D4loKWxJek", None)]);
        for (now, wanted) in
            [(1_614_265_630, true), (1_614_265_631, false), (1_614_265_030, true), (1_614_265_029, false)]
        {
            assert_eq!(judge(Recipe::Gitlab, secret, &headers, body, now).is_ok(), wanted, "{now}");
        }
        let told = judge(Recipe::Gitlab, secret, &[("x-gitlab-token", secret)], body, 0);
        assert_eq!(told.unwrap_err(), "not its secret", "a signing token that is sent is known to others");
        let token = [("x-gitlab-token", SECRET)];
        assert!(judge(Recipe::Gitlab, SECRET, &token, body, 0).is_ok());
        assert!(judge(Recipe::Gitlab, "another secret of ours", &token, body, 0).is_err());
    }

    #[test]
    fn a_generic_sender_signs_the_time_with_the_body() {
        let v1 = hex(&sign(SECRET, "1700000000.{}"));
        let text = format!("t=1700000000,v1={v1}");
        let judge = |text: &str, body, now| {
            super::tests::judge(Recipe::Generic, SECRET, &[("x-lab-signature", text)], body, now)
        };
        let marks = judge(&text, "{}", 1_700_000_100).unwrap();
        assert_eq!((marks.len(), marks[0].for_ms), (1, None));
        let headers = [("x-lab-signature", text.as_str()), ("x-lab-delivery", "build-41")];
        let marks = super::tests::judge(Recipe::Generic, SECRET, &headers, "{}", 1_700_000_000).unwrap();
        assert_eq!(marks[1], Mark::of("delivery build-41", None));
        assert_eq!(
            judge(&text, "{}", 1_700_000_301).unwrap_err(),
            "it was signed more than five minutes before or after now"
        );
        assert_eq!(judge(&text, "{ }", 1_700_000_000).unwrap_err(), "its signature is not right");
        let later = text.replace("1700000000", "1700000200");
        assert_eq!(
            judge(&later, "{}", 1_700_000_200).unwrap_err(),
            "its signature is not right",
            "the time is signed"
        );
        let zeros = "0".repeat(64);
        let two = format!("t=1700000000,v1={zeros},v1={v1}");
        assert!(judge(&two, "{}", 1_700_000_000).is_ok(), "while a secret is changed");
        for bad in [
            "",
            "t=1700000000",
            "v1=00",
            &format!("v1={v1}"),
            &format!("t=x,v1={v1}"),
            &format!("t=1,v1={v1}é"),
        ] {
            assert_eq!(judge(bad, "{}", 1_700_000_000).unwrap_err(), "claims nothing", "{bad}");
        }
        let many = format!("t=1700000000{}", format!(",v1={zeros}").repeat(5));
        assert_eq!(judge(&many, "{}", 1_700_000_000).unwrap_err(), "claims nothing");
        let late = || judge(&text, "{}", 1_800_000_000).is_ok();
        assert!(broken::without(Some("hook-time"), late) && !late());
    }

    #[test]
    fn who_cannot_sign_tells_the_secret_as_a_token_or_as_a_password() {
        let basic = format!("Basic {}", STANDARD.encode(format!("labctl:{SECRET}")));
        for recipe in [Recipe::Alertmanager, Recipe::UptimeKuma] {
            for text in [&format!("Bearer {SECRET}"), &format!("bearer {SECRET}"), &basic] {
                let marks = judge(recipe, SECRET, &[("authorization", text)], "{}", 0).unwrap();
                assert_eq!((marks.len(), marks[0].for_ms), (1, Some(RETRY_MS)));
            }
            for bad in
                [&format!("Bearer {SECRET}x"), "Bearer ", &format!("Digest {SECRET}"), SECRET, "Basic !"]
            {
                assert!(judge(recipe, SECRET, &[("authorization", bad)], "{}", 0).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn a_hook_without_a_secret_is_open_to_nobody_and_an_empty_one_is_none() {
        for claim in [Claim::Told(Secret::new("")), body_only([0; 32])] {
            assert!(Check::new(claim, &[]).finish(None, Timestamp(0)).is_err());
        }
        let open = || Check::new(body_only([0; 32]), &[]).finish(None, Timestamp(0)).is_ok();
        assert!(broken::without(Some("hook-signature"), open), "the test notices");
    }
}
