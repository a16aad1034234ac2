//! Bytes to packets: everything is checked against the length of its frame before it is read or allocated.

use super::{
    AckKind, Connect, FILTERS_MAX, PROPERTIES_MAX, Packet, PacketError, Properties, Property, PropertyValue,
    Publish, Qos, Subscription, Version, Will, is_filter, is_topic, property,
};
use bytes::{Buf, Bytes};
use model::broken;

use PacketError::Malformed;

/// Bytes of the first packet in `buffer`, once its length is known; an error as soon as it is over `packet_max`.
pub fn frame_length(buffer: &[u8], packet_max: usize) -> Result<Option<usize>, PacketError> {
    let mut length = 0_usize;
    for index in 0..4 {
        let Some(byte) = buffer.get(1 + index) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * index);
        if length > packet_max {
            return Err(PacketError::TooLarge);
        }
        if byte & 0x80 == 0 {
            return Ok(Some(length + 2 + index));
        }
    }
    if broken::leaves_out("mqtt-remaining-length") { Ok(None) } else { Err(Malformed("remaining length")) }
}

/// Reads one whole frame (of [`frame_length`] bytes). A CONNECT says its own version; `version` is for all others.
pub fn decode(version: Version, mut frame: Bytes) -> Result<Packet, PacketError> {
    let length = frame_length(&frame, frame.len())?.ok_or(Malformed("frame"))?;
    if length != frame.len() {
        return Err(Malformed("frame"));
    }
    let first = frame[0];
    let header = frame.iter().skip(1).take_while(|it| **it & 0x80 != 0).count() + 2;
    frame.advance(header);
    let mut rest = Reader { rest: frame };
    let packet = body(version, first >> 4, first & 0x0f, &mut rest)?;
    if rest.rest.has_remaining() && !broken::leaves_out("mqtt-whole-frame") {
        return Err(Malformed("bytes left over"));
    }
    Ok(packet)
}

fn body(version: Version, kind: u8, flags: u8, rest: &mut Reader) -> Result<Packet, PacketError> {
    let flags_wanted = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
    if kind != 3 && flags != flags_wanted && !broken::leaves_out("mqtt-flags") {
        return Err(Malformed("flags"));
    }
    match kind {
        1 => connect(rest).map(Box::new).map(Packet::Connect),
        2 => connect_ack(version, rest),
        3 => publish(version, flags, rest).map(Packet::Publish),
        4 => ack(version, AckKind::Ack, rest),
        5 => ack(version, AckKind::Received, rest),
        6 => ack(version, AckKind::Released, rest),
        7 => ack(version, AckKind::Complete, rest),
        8 => subscribe(version, rest),
        9 => {
            let id = rest.id()?;
            rest.properties(version)?;
            Ok(Packet::SubAck { id, codes: rest.codes()? })
        }
        10 => unsubscribe(version, rest),
        11 => {
            let id = rest.id()?;
            rest.properties(version)?;
            // There are none in 3.1.1.
            let codes = if version == Version::V4 { Vec::new() } else { rest.codes()? };
            Ok(Packet::UnsubAck { id, codes })
        }
        12 => Ok(Packet::PingRequest),
        13 => Ok(Packet::PingResponse),
        14 => Ok(Packet::Disconnect { reason: rest.reason(version)? }),
        15 if version == Version::V5 => Ok(Packet::Auth { reason: rest.reason(version)? }),
        _ => Err(Malformed("packet type")),
    }
}

fn connect(rest: &mut Reader) -> Result<Connect, PacketError> {
    let name = rest.text()?;
    let version = match (name.as_str(), rest.byte()?) {
        ("MQTT", 4) => Version::V4,
        ("MQTT", 5) => Version::V5,
        ("MQIsdp", 3) if broken::leaves_out("mqtt-protocol") => Version::V4,
        ("MQTT" | "MQIsdp", _) => return Err(PacketError::UnsupportedVersion),
        _ => return Err(Malformed("protocol name")),
    };
    let flags = rest.byte()?;
    let has = |bit: u8| flags & bit != 0;
    let no_will_but_its_flags = !has(0x04) && flags & 0x38 != 0;
    let password_alone = version == Version::V4 && has(0x40) && !has(0x80);
    if has(0x01) || no_will_but_its_flags || password_alone {
        return Err(Malformed("connect flags"));
    }
    let keep_alive_s = rest.two()?;
    let properties = rest.properties(version)?;
    let client_id = rest.text()?;
    let will = if has(0x04) {
        let properties = rest.properties(version)?;
        let (topic, payload) = (rest.topic()?, rest.binary()?);
        Some(Will { topic, payload, qos: Qos::from_number(flags >> 3 & 3)?, retain: has(0x20), properties })
    } else {
        None
    };
    let user = if has(0x80) { Some(rest.text()?) } else { None };
    let password = if has(0x40) { Some(rest.binary()?) } else { None };
    Ok(Connect { version, client_id, clean: has(0x02), keep_alive_s, will, user, password, properties })
}

fn connect_ack(version: Version, rest: &mut Reader) -> Result<Packet, PacketError> {
    let present = rest.byte()?;
    if present > 1 {
        return Err(Malformed("connack flags"));
    }
    let code = rest.byte()?;
    Ok(Packet::ConnAck { session_present: present == 1, code, properties: rest.properties(version)? })
}

fn publish(version: Version, flags: u8, rest: &mut Reader) -> Result<Publish, PacketError> {
    let qos = Qos::from_number(flags >> 1 & 3)?;
    let duplicate = flags & 0x08 != 0;
    if duplicate && qos == Qos::AtMostOnce {
        return Err(Malformed("duplicate at QoS 0"));
    }
    let topic = rest.topic()?;
    let id = if qos == Qos::AtMostOnce { 0 } else { rest.id()? };
    let properties = rest.properties(version)?;
    let payload = std::mem::take(&mut rest.rest);
    Ok(Publish { topic, payload, qos, retain: flags & 0x01 != 0, duplicate, id, properties })
}

fn ack(version: Version, kind: AckKind, rest: &mut Reader) -> Result<Packet, PacketError> {
    let id = rest.id()?;
    Ok(Packet::Ack { kind, id, reason: rest.reason(version)? })
}

fn subscribe(version: Version, rest: &mut Reader) -> Result<Packet, PacketError> {
    let id = rest.id()?;
    let properties = rest.properties(version)?;
    let mut filters = Vec::new();
    while rest.rest.has_remaining() {
        let filter = rest.filter()?;
        let options = rest.byte()?;
        let reserved = if version == Version::V4 { 0xfc } else { 0xc0 };
        let retain_handling = options >> 4 & 3;
        let full = filters.len() == FILTERS_MAX && !broken::leaves_out("mqtt-filters-max");
        if options & reserved != 0 || retain_handling == 3 || full {
            return Err(Malformed("subscription"));
        }
        filters.push(Subscription {
            filter,
            qos: Qos::from_number(options & 3)?,
            no_local: options & 0x04 != 0,
            retain_as_published: options & 0x08 != 0,
            retain_handling,
        });
    }
    if filters.is_empty() {
        return Err(Malformed("no filter"));
    }
    Ok(Packet::Subscribe { id, filters, properties })
}

fn unsubscribe(version: Version, rest: &mut Reader) -> Result<Packet, PacketError> {
    let id = rest.id()?;
    rest.properties(version)?;
    let mut filters = Vec::new();
    while rest.rest.has_remaining() {
        if filters.len() == FILTERS_MAX {
            return Err(Malformed("too many filters"));
        }
        filters.push(rest.filter()?);
    }
    if filters.is_empty() {
        return Err(Malformed("no filter"));
    }
    Ok(Packet::Unsubscribe { id, filters })
}

/// What is left of a frame.
struct Reader {
    rest: Bytes,
}

impl Reader {
    fn byte(&mut self) -> Result<u8, PacketError> {
        self.rest.try_get_u8().map_err(|_| Malformed("too short"))
    }
    fn two(&mut self) -> Result<u16, PacketError> {
        self.rest.try_get_u16().map_err(|_| Malformed("too short"))
    }
    fn four(&mut self) -> Result<u32, PacketError> {
        self.rest.try_get_u32().map_err(|_| Malformed("too short"))
    }
    fn variable(&mut self) -> Result<u32, PacketError> {
        let mut number = 0;
        for index in 0..4 {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("number"))
    }
    fn id(&mut self) -> Result<u16, PacketError> {
        match self.two()? {
            0 if !broken::leaves_out("mqtt-packet-id") => Err(Malformed("packet id 0")),
            id => Ok(id),
        }
    }
    fn binary(&mut self) -> Result<Bytes, PacketError> {
        let length = usize::from(self.two()?);
        if length > self.rest.remaining() {
            return Err(Malformed("too short"));
        }
        Ok(self.rest.split_to(length))
    }
    fn text(&mut self) -> Result<String, PacketError> {
        let bytes = self.binary()?;
        if broken::leaves_out("mqtt-text") {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Malformed("not UTF-8"))?;
        if text.contains('\0') {
            return Err(Malformed("NUL in a text"));
        }
        Ok(text.to_owned())
    }
    fn topic(&mut self) -> Result<String, PacketError> {
        Some(self.text()?).filter(|it| is_topic(it)).ok_or(Malformed("topic"))
    }
    fn filter(&mut self) -> Result<String, PacketError> {
        Some(self.text()?).filter(|it| is_filter(it)).ok_or(Malformed("filter"))
    }
    fn codes(&mut self) -> Result<Vec<u8>, PacketError> {
        let codes = std::mem::take(&mut self.rest);
        if codes.len() > FILTERS_MAX {
            return Err(Malformed("too many codes"));
        }
        Ok(codes.to_vec())
    }
    /// A reason code and properties, both of which may be left out in MQTT 5 and are not there in 3.1.1.
    fn reason(&mut self, version: Version) -> Result<u8, PacketError> {
        if version == Version::V4 || !self.rest.has_remaining() {
            return Ok(0);
        }
        let reason = self.byte()?;
        if self.rest.has_remaining() {
            self.properties(version)?;
        }
        Ok(reason)
    }
    fn properties(&mut self, version: Version) -> Result<Properties, PacketError> {
        let mut found = Properties::default();
        if version == Version::V4 {
            return Ok(found);
        }
        let length = usize::try_from(self.variable()?).map_err(|_| Malformed("properties"))?;
        if length > self.rest.remaining() {
            return Err(Malformed("properties"));
        }
        let mut part = Self { rest: self.rest.split_to(length) };
        while part.rest.has_remaining() {
            let id = part.byte()?;
            let repeats = matches!(id, property::USER | property::SUBSCRIPTION_ID);
            let many = found.0.len() == PROPERTIES_MAX || (!repeats && found.get(id).is_some());
            if many && !broken::leaves_out("mqtt-properties") {
                return Err(Malformed("properties"));
            }
            let value = part.property(id)?;
            found.0.push(Property { id, value });
        }
        Ok(found)
    }
    fn property(&mut self, id: u8) -> Result<PropertyValue, PacketError> {
        Ok(match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => PropertyValue::Byte(self.byte()?),
            0x13 | 0x21 | 0x22 | 0x23 => PropertyValue::Two(self.two()?),
            0x02 | 0x11 | 0x18 | 0x27 => PropertyValue::Four(self.four()?),
            0x0B => PropertyValue::Variable(self.variable()?),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => PropertyValue::Text(self.text()?),
            0x09 | 0x16 => PropertyValue::Binary(self.binary()?),
            0x26 => PropertyValue::Pair(self.text()?, self.text()?),
            _ => return Err(Malformed("unknown property")),
        })
    }
}
