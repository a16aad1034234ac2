//! Calls to other services, each on a thread of its own for as long as it takes: over TLS that is checked, without
//! following anybody elsewhere, with a bound for what is read back. What comes back is said without secrets.

use super::{Daemon, Incoming, Outside, handle::error_chain};
use crate::core::{Called, Ticket};
use lang::notifiers::Call;
use model::{Reply, broken};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::{info, warn};
use ureq::Agent;
use ureq::http::{Request, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Bytes of an answer that are read, and characters of it that are shown.
const ANSWER_BYTES_MAX: u64 = 4_096;
const ANSWER_CHARS_MAX: usize = 200;
/// How often a service may send a call on to another path of its own.
const REDIRECTS_MAX: usize = 3;
/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Tests of notifiers at a time: each holds a thread as long as the other side likes to take.
const TESTS_MAX: usize = 2;

/// Places for tests of notifiers.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(TESTS_MAX))
}

impl<O: Outside> Daemon<O> {
    /// Calls, and tells the core what came of it.
    pub(super) fn call(&self, id: String, call: Call) {
        let loopback = self.loopback.clone();
        tokio::spawn(async move {
            let origin = call.origin().to_owned();
            let done = tokio::task::spawn_blocking(move || make(&call)).await;
            let called = done.unwrap_or_else(|bug| failed(format!("it ended in a bug: {bug}"), true));
            if called.good {
                info!(%origin, answer = called.answer, "called");
            } else {
                warn!(%origin, answer = called.answer, again = called.again, "a call failed");
            }
            let _ = loopback.send(Incoming::Called(id, called)).await;
        });
    }
    /// Publishes once, and tells the core what came of it.
    pub(super) fn tell(&self, id: String, topic: &str, payload: &str) {
        let called = match self.outside.tell(topic, payload) {
            Ok(()) => Called { good: true, answer: "published".to_owned(), ..Called::default() },
            Err(why) => failed(why.to_owned(), true),
        };
        let loopback = self.loopback.clone();
        tokio::spawn(async move {
            let _ = loopback.send(Incoming::Called(id, called)).await;
        });
    }
    /// The same for somebody who waits for the answer.
    pub(super) fn test_tell(&mut self, ticket: Ticket, topic: &str, payload: &str) {
        let reply = match self.outside.tell(topic, payload) {
            Ok(()) => Reply::Done(vec![format!("published on {topic}")]),
            Err(why) => super::unavailable(format!("{topic}: {why}")),
        };
        self.tickets.reply(ticket, reply);
    }
    /// Calls once for somebody who waits for the answer.
    pub(super) fn test_call(&mut self, ticket: Ticket, call: Call) {
        let Ok(place) = Arc::clone(&self.test_calls).try_acquire_owned() else {
            let busy =
                format!("{TESTS_MAX} notifiers are being tested already: try again when they have answered");
            return self.tickets.reply(ticket, super::unavailable(busy));
        };
        let loopback = self.loopback.clone();
        tokio::spawn(async move {
            let _place = place;
            let origin = call.origin().to_owned();
            let done = tokio::task::spawn_blocking(move || make(&call)).await;
            let called = done.unwrap_or_else(|bug| failed(format!("it ended in a bug: {bug}"), true));
            let reply = if called.good {
                Reply::Done(vec![format!("{origin} says: {}", called.answer)])
            } else {
                super::unavailable(format!("{origin}: {}", called.answer))
            };
            let _ = loopback.send(Incoming::Answer(ticket, Box::new(reply))).await;
        });
    }
    /// Sends packets that wake machines.
    pub(super) fn wake(macs: &[String]) {
        match bus::wake::send(macs) {
            Ok(cards) => info!(cards, "packets that wake machines were sent"),
            Err(error) => warn!(%error, "no packet that wakes machines could be sent"),
        }
    }
}

fn failed(answer: String, again: bool) -> Called {
    Called { good: false, again, answer, retry_after_ms: None }
}

/// One call, with what the service said.
pub(crate) fn make(call: &Call) -> Called {
    let agent = match agent(call) {
        Ok(agent) => agent,
        Err(reason) => return failed(reason, false),
    };
    let mut url = call.url.reveal().to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let response = match send(&agent, call, &url) {
            Ok(response) => response,
            Err(Fault::Ours(reason)) => return failed(call.mask(&reason), false),
            Err(Fault::Theirs(reason)) => return failed(call.mask(&reason), true),
        };
        match elsewhere(call, &response) {
            Some(Ok(next)) => url = next,
            Some(Err(reason)) => return failed(reason, false),
            None => return judged(call, response),
        }
    }
    failed(format!("it sends the call on more than {REDIRECTS_MAX} times"), false)
}

/// Why there is no answer.
enum Fault {
    Ours(String),
    Theirs(String),
}

fn agent(call: &Call) -> Result<Agent, String> {
    let roots = match &call.ca {
        None => RootCerts::WebPki,
        Some(pem) => {
            let items = parse_pem(pem.as_bytes()).filter_map(Result::ok);
            let certificates: Vec<Certificate<'static>> = items
                .filter_map(|it| match it {
                    PemItem::Certificate(it) => Some(it),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err("`ca_file` has no certificate in it".to_owned());
            }
            RootCerts::new_with_certs(&certificates)
        }
    };
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(roots)
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(Duration::from_millis(call.timeout_ms.max(1))))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(HEAD_BYTES_MAX)
        .max_idle_connections(0)
        .proxy(None)
        .user_agent(format!("labctl/{}", model::VERSION))
        .build();
    Ok(config.into())
}

fn send(agent: &Agent, call: &Call, url: &str) -> Result<Response<ureq::Body>, Fault> {
    let mut request = Request::builder().method(call.method.as_str()).uri(url);
    for (name, value) in &call.headers {
        request = request.header(name.as_str(), value.reveal());
    }
    let told = |error: ureq::http::Error| Fault::Ours(error.to_string());
    let sent = match &call.body {
        Some(body) => agent.run(request.body(body.reveal()).map_err(told)?),
        None => agent.run(request.body(()).map_err(told)?),
    };
    sent.map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Fault::Ours(error_chain(&error)),
        error => Fault::Theirs(error_chain(&error)),
    })
}

/// Where a service sends a call on to: another path of its own, or nowhere.
fn elsewhere(call: &Call, response: &Response<ureq::Body>) -> Option<Result<String, String>> {
    let status = response.status();
    if !status.is_redirection() || call.expects(status.as_u16()) {
        return None;
    }
    let same_method = call.method == "GET"
        || matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let location = response.headers().get("location").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let origin = call.origin();
    if broken::leaves_out("call-redirects") {
        return Some(Ok(location.to_owned()));
    }
    let rest = location.strip_prefix(origin).unwrap_or(location);
    if same_method && rest.starts_with('/') && !rest.starts_with("//") {
        return Some(Ok(format!("{origin}{rest}")));
    }
    Some(Err(format!("{}: it sends the call to another place, which is not followed", status.as_u16())))
}

fn judged(call: &Call, mut response: Response<ureq::Body>) -> Called {
    let status = response.status().as_u16();
    let seconds =
        response.headers().get("retry-after").and_then(|it| it.to_str().ok()?.trim().parse::<u64>().ok());
    let mut bytes = Vec::new();
    // What cannot be read any more of an answer does not alter it.
    let most = if broken::leaves_out("answer-size") { u64::MAX } else { ANSWER_BYTES_MAX };
    let _ = response.body_mut().as_reader().take(most).read_to_end(&mut bytes);
    let text = call.mask(&String::from_utf8_lossy(&bytes));
    let plain: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain: String = plain.chars().filter(|it| !it.is_control()).take(ANSWER_CHARS_MAX).collect();
    let answer = if plain.is_empty() { status.to_string() } else { format!("{status} {plain}") };
    Called {
        good: call.expects(status),
        again: matches!(status, 408 | 425 | 429) || status >= 500,
        answer,
        retry_after_ms: seconds.map(|it| it.saturating_mul(1_000)),
    }
}

#[cfg(test)]
mod tests;
