//! The JSON of an envelope whose signature is good: strict about duplicates, depth and version, and in one pass from
//! bytes to message, without a tree in between.

use super::{DEPTH_MAX, Header, SESSION_MAX, VERSION, Verified};
use model::{Timestamp, broken};
use serde::{
    Deserialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{BorrowedStrDeserializer, MapAccessDeserializer},
    },
};
use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

/// Up to this many members, comparing each name with each is quicker than a hash set.
const FEW: usize = 16;

/// Whether it is JSON without duplicate names and not too deep.
pub(super) fn strict(bytes: &[u8]) -> Result<&str, serde_json::Error> {
    let text = std::str::from_utf8(bytes).map_err(de::Error::custom)?;
    let mut json = serde_json::Deserializer::from_str(text);
    Strict { depth_left: DEPTH_MAX }.deserialize(&mut json)?;
    json.end()?;
    Ok(text)
}

/// Checks the whole text, then reads header and message.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<Verified<T>, serde_json::Error> {
    let text = strict(bytes)?;
    serde_json::Deserializer::from_str(text).deserialize_map(EnvelopeVisitor(PhantomData))
}

/// Goes through a value, keeps nothing, and complains about duplicate names and about depth.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None if broken::leaves_out("envelope-depth") => Ok(self),
            None => Err(E::custom("too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        let mut names = Names::default();
        while let Some(Name(name)) = members.next_key()? {
            if !names.insert(name) && !broken::leaves_out("envelope-duplicates") {
                return Err(de::Error::custom("duplicate name"));
            }
            members.next_value_seed(inside)?;
        }
        Ok(())
    }
}

/// Names of one object.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    /// False if it was there.
    fn insert(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

/// A member's name, borrowed unless it has escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        json.deserialize_str(NameVisitor)
    }
}

/// Members of the header as they come by.
#[derive(Default)]
struct Seen {
    version: Option<u8>,
    session: Option<String>,
    seq: Option<u64>,
    iat: Option<Timestamp>,
    exp: Option<Timestamp>,
}

impl Seen {
    fn header<E: de::Error>(self) -> Result<Header, E> {
        if self.version != Some(VERSION) && !broken::leaves_out("envelope-version") {
            return Err(E::custom("unknown version"));
        }
        let session = self.session.ok_or_else(|| E::missing_field("session"))?;
        if session.is_empty() || session.len() > SESSION_MAX {
            return Err(E::custom("bad session"));
        }
        let seq = self.seq.ok_or_else(|| E::missing_field("seq"))?;
        let iat = self.iat.ok_or_else(|| E::missing_field("iat"))?;
        Ok(Header { session, seq, iat, exp: self.exp })
    }
}

struct EnvelopeVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for EnvelopeVisitor<T> {
    type Value = Verified<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Verified<T>, A::Error> {
        let mut seen = Seen::default();
        let message =
            T::deserialize(MapAccessDeserializer::new(MessageMembers { members, seen: &mut seen }))?;
        Ok(Verified { header: seen.header()?, message })
    }
}

/// Shows `type` and `body` to the message's own parser and keeps the header's members; leaves out the rest.
struct MessageMembers<'a, A> {
    members: A,
    seen: &'a mut Seen,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for MessageMembers<'_, A> {
    type Error = A::Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Name(name)) = self.members.next_key()? {
            match &*name {
                "type" => return seed.deserialize(BorrowedStrDeserializer::new("type")).map(Some),
                "body" => return seed.deserialize(BorrowedStrDeserializer::new("body")).map(Some),
                "v" => self.seen.version = Some(self.members.next_value()?),
                "session" => self.seen.session = Some(self.members.next_value()?),
                "seq" => self.seen.seq = Some(self.members.next_value()?),
                "iat" => self.seen.iat = Some(self.members.next_value()?),
                "exp" => self.seen.exp = Some(self.members.next_value()?),
                _ => {
                    self.members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(None)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.members.next_value_seed(seed)
    }
}
