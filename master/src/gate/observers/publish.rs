//! What observers may say: an integration below its own name, a viewer nothing.

use super::{End, Observer};
use crate::gate::{FromGate, Shared, acl};
use bus::packet::{AckKind, Packet, Publish, Qos, Version};
use model::{ObserverRole, broken};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// Messages of QoS 2 that the client may leave unreleased.
pub(super) const UNRELEASED_MAX: u16 = 64;

/// Reason codes of MQTT 5.
const SUCCESS: u8 = 0;
const NOT_AUTHORIZED: u8 = 0x87;
const PAYLOAD_INVALID: u8 = 0x99;
const QUOTA_EXCEEDED: u8 = 0x97;

/// An integration that says too much over all its connections waits so long, and is then not heard.
const QUOTA_WAIT: Duration = Duration::from_secs(1);

impl<S: AsyncRead + AsyncWrite + Unpin> Observer<S> {
    /// A refused message is acknowledged in 3.1.1, which has no way to say no but to hang up: dashboards would loop.
    pub(super) async fn publish(&mut self, it: Publish) -> Result<(), End> {
        let again = it.qos == Qos::ExactlyOnce && self.unreleased.contains(&it.id);
        let reason = match acl::integration_tag(&self.role, &self.name, &it.topic) {
            _ if again => SUCCESS,
            None => {
                self.count("observer-publish");
                NOT_AUTHORIZED
            }
            Some(tag) => match acl::integration_data(&it.payload) {
                None => {
                    self.count("integration-payload");
                    PAYLOAD_INVALID
                }
                Some(_) if !has_room(Arc::clone(&self.gate), self.name.clone()).await => QUOTA_EXCEEDED,
                Some(data) => {
                    let (user, tag) = (self.name.clone(), tag.to_owned());
                    let told = self.gate.events.send(FromGate::Integration { user, tag, data }).await;
                    told.map_err(|_| End::Quiet)?;
                    self.counters().taken();
                    SUCCESS
                }
            },
        };
        if self.role == ObserverRole::Integration {
            self.publishes.charge(Instant::now());
        }
        let shown = if self.wire.version() == Version::V5 { reason } else { SUCCESS };
        match it.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => {
                self.wire.push(&Packet::Ack { kind: AckKind::Ack, id: it.id, reason: shown });
            }
            Qos::ExactlyOnce => {
                if shown == SUCCESS {
                    self.unreleased.insert(it.id);
                }
                let many = self.unreleased.len() > usize::from(UNRELEASED_MAX);
                if many && !broken::leaves_out("unreleased-limit") {
                    return Err(End::Refused("too-many-unreleased", 0x93));
                }
                self.wire.push(&Packet::Ack { kind: AckKind::Received, id: it.id, reason: shown });
            }
        }
        Ok(())
    }
}

/// Whether the integration has room for one more; waits a little for it, and meanwhile its socket is not read.
async fn has_room(gate: Arc<Shared>, name: String) -> bool {
    let end = Instant::now() + QUOTA_WAIT;
    loop {
        match gate.limits.event(&name, Instant::now().into_std()) {
            Ok(()) => return true,
            Err(wait) if Instant::now() + wait < end => tokio::time::sleep(wait).await,
            Err(_) => return false,
        }
    }
}
