//! Packets to bytes. Texts longer than 65,535 bytes cannot be made by [`super::decode`] and are cut here.

use super::{AckKind, Connect, Packet, Properties, PropertyValue, Publish, Version};
use bytes::{BufMut, BytesMut};

/// Appends a packet. A CONNECT is written in its own version, all others in `version`.
pub fn encode(version: Version, packet: &Packet, out: &mut BytesMut) {
    match packet {
        Packet::Connect(it) => frame(out, 0x10, &connect(it)),
        Packet::ConnAck { session_present, code, properties: list } => {
            let mut body = BytesMut::new();
            body.put_slice(&[u8::from(*session_present), *code]);
            properties(version, list, &mut body);
            frame(out, 0x20, &body);
        }
        Packet::Publish(it) => publish(version, it, out),
        Packet::Ack { kind, id, reason } => {
            let first = match kind {
                AckKind::Ack => 0x40,
                AckKind::Received => 0x50,
                AckKind::Released => 0x62,
                AckKind::Complete => 0x70,
            };
            let [high, low] = id.to_be_bytes();
            match (version, *reason) {
                (Version::V4, _) | (_, 0) => frame(out, first, &[high, low]),
                (Version::V5, reason) => frame(out, first, &[high, low, reason]),
            }
        }
        Packet::Subscribe { id, filters, properties: list } => {
            let mut body = BytesMut::new();
            body.put_u16(*id);
            properties(version, list, &mut body);
            for it in filters {
                text(&it.filter, &mut body);
                let v5 = u8::from(it.no_local) << 2
                    | u8::from(it.retain_as_published) << 3
                    | (it.retain_handling & 3) << 4;
                body.put_u8(it.qos.number() | if version == Version::V5 { v5 } else { 0 });
            }
            frame(out, 0x82, &body);
        }
        Packet::SubAck { id, codes } => frame(out, 0x90, &acknowledgement(version, *id, codes)),
        Packet::Unsubscribe { id, filters } => {
            let mut body = BytesMut::new();
            body.put_u16(*id);
            properties(version, &Properties::default(), &mut body);
            for it in filters {
                text(it, &mut body);
            }
            frame(out, 0xa2, &body);
        }
        Packet::UnsubAck { id, codes } if version == Version::V5 => {
            frame(out, 0xb0, &acknowledgement(version, *id, codes));
        }
        Packet::UnsubAck { id, .. } => frame(out, 0xb0, &id.to_be_bytes()),
        Packet::PingRequest => frame(out, 0xc0, &[]),
        Packet::PingResponse => frame(out, 0xd0, &[]),
        Packet::Disconnect { reason } => reason_only(version, 0xe0, *reason, out),
        Packet::Auth { reason } => reason_only(version, 0xf0, *reason, out),
    }
}

fn frame(out: &mut BytesMut, first: u8, body: &[u8]) {
    out.reserve(body.len() + 5);
    out.put_u8(first);
    variable(body.len(), out);
    out.put_slice(body);
}

fn reason_only(version: Version, first: u8, reason: u8, out: &mut BytesMut) {
    match (version, reason) {
        (Version::V4, _) | (_, 0) => frame(out, first, &[]),
        (Version::V5, reason) => frame(out, first, &[reason]),
    }
}

fn acknowledgement(version: Version, id: u16, codes: &[u8]) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u16(id);
    properties(version, &Properties::default(), &mut body);
    body.put_slice(codes);
    body
}

fn connect(it: &Connect) -> BytesMut {
    let mut body = BytesMut::new();
    text("MQTT", &mut body);
    body.put_u8(if it.version == Version::V4 { 4 } else { 5 });
    let will = it.will.as_ref().map_or(0, |it| 0x04 | it.qos.number() << 3 | u8::from(it.retain) << 5);
    let login = u8::from(it.user.is_some()) << 7 | u8::from(it.password.is_some()) << 6;
    body.put_u8(will | login | u8::from(it.clean) << 1);
    body.put_u16(it.keep_alive_s);
    properties(it.version, &it.properties, &mut body);
    text(&it.client_id, &mut body);
    if let Some(will) = &it.will {
        properties(it.version, &will.properties, &mut body);
        text(&will.topic, &mut body);
        binary(&will.payload, &mut body);
    }
    if let Some(user) = &it.user {
        text(user, &mut body);
    }
    if let Some(password) = &it.password {
        binary(password, &mut body);
    }
    body
}

fn publish(version: Version, it: &Publish, out: &mut BytesMut) {
    let mut head = BytesMut::with_capacity(it.topic.len() + 8);
    text(&it.topic, &mut head);
    if it.id != 0 {
        head.put_u16(it.id);
    }
    properties(version, &it.properties, &mut head);
    let flags = u8::from(it.retain) | it.qos.number() << 1 | u8::from(it.duplicate) << 3;
    out.reserve(head.len() + it.payload.len() + 5);
    out.put_u8(0x30 | flags);
    variable(head.len() + it.payload.len(), out);
    out.put_slice(&head);
    out.put_slice(&it.payload);
}

fn properties(version: Version, list: &Properties, out: &mut BytesMut) {
    if version == Version::V4 {
        return;
    }
    let mut body = BytesMut::new();
    for it in &list.0 {
        body.put_u8(it.id);
        match &it.value {
            PropertyValue::Byte(it) => body.put_u8(*it),
            PropertyValue::Two(it) => body.put_u16(*it),
            PropertyValue::Four(it) => body.put_u32(*it),
            PropertyValue::Variable(it) => variable(*it as usize, &mut body),
            PropertyValue::Text(it) => text(it, &mut body),
            PropertyValue::Binary(it) => binary(it, &mut body),
            PropertyValue::Pair(name, value) => {
                text(name, &mut body);
                text(value, &mut body);
            }
        }
    }
    variable(body.len(), out);
    out.put_slice(&body);
}

fn text(text: &str, out: &mut BytesMut) {
    binary(text.as_bytes(), out);
}

fn binary(bytes: &[u8], out: &mut BytesMut) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(&bytes[..usize::from(length)]);
}

fn variable(mut number: usize, out: &mut BytesMut) {
    for _ in 0..4 {
        let byte = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        out.put_u8(byte | if number > 0 { 0x80 } else { 0 });
        if number == 0 {
            return;
        }
    }
}
