//! D-Bus as far as the states of units need it: calls to bytes, bytes to messages. Pure; every length is checked before
//! it is believed.

/// Longest message that is taken; those of systemd about a thousand units are a third of it.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of a value that is skipped; the specification allows 64 in all.
const DEPTH_MAX: u32 = 32;
/// Every message begins with as much.
const FIXED_BYTES: usize = 16;

/// What is not D-Bus, or longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus said something that is not D-Bus")]
pub(super) struct Malformed;

/// A call of a method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) body: Body<'a>,
}

/// What it is called with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    None,
    Text(&'a str),
    /// Two lists of text.
    Lists(&'a [&'a str], &'a [&'a str]),
}

impl Body<'_> {
    fn signature(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Text(_) => "s",
            Self::Lists(..) => "asas",
        }
    }
}

impl Call<'_> {
    /// The message, little-endian.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer(Vec::new());
        match self.body {
            Body::None => {}
            Body::Text(text) => body.text(text),
            Body::Lists(one, other) => {
                body.list(one);
                body.list(other);
            }
        }
        let mut out = Writer(vec![b'l', 1, 0, 1]);
        out.number(body.0.len());
        out.0.extend(serial.to_le_bytes());
        let mut fields = Writer(Vec::new());
        fields.field(1, b'o', self.path);
        fields.field(6, b's', self.destination);
        fields.field(2, b's', self.interface);
        fields.field(3, b's', self.member);
        if !self.body.signature().is_empty() {
            fields.signature_field(self.body.signature());
        }
        out.number(fields.0.len());
        out.0.extend(fields.0);
        out.pad(8);
        out.0.extend(body.0);
        out.0
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }
    fn number(&mut self, number: usize) {
        self.pad(4);
        // Lists of names in settings are far shorter than this.
        self.0.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }
    fn list(&mut self, texts: &[&str]) {
        let mut items = Self(Vec::new());
        for text in texts {
            items.text(text);
        }
        self.number(items.0.len());
        self.0.extend(items.0);
    }
    /// A field of a header: the list begins at a multiple of 8 of the message.
    fn field(&mut self, code: u8, kind: u8, text: &str) {
        self.pad(8);
        self.0.extend([code, 1, kind, 0]);
        self.text(text);
    }
    fn signature_field(&mut self, signature: &str) {
        self.pad(8);
        self.0.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap_or(u8::MAX)]);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }
}

/// Kinds of messages that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Return,
    Error,
    Signal,
    Other,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    /// The call that it answers.
    pub(super) answers: u32,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) error: &'a str,
    pub(super) signature: &'a str,
    body: Reader<'a>,
}

/// How many bytes the next message takes; none if that cannot be known yet.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Ok(None) };
    let [order, _, _, 1, ..] = fixed else { return Err(Malformed) };
    let mut reader = Reader { bytes: fixed, at: 4, big: is_big(*order)? };
    let body = reader.length()?;
    reader.at = 12;
    let fields = reader.length()?;
    let whole = (FIXED_BYTES + fields).next_multiple_of(8) + body;
    if whole > MESSAGE_BYTES_MAX { Err(Malformed) } else { Ok(Some(whole)) }
}

fn is_big(order: u8) -> Result<bool, Malformed> {
    match order {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(Malformed),
    }
}

/// Reads a whole message, as long as [`length`] said.
pub(super) fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let order = *bytes.first().ok_or(Malformed)?;
    let mut reader = Reader { bytes, at: 12, big: is_big(order)? };
    let kind = match bytes.get(1) {
        Some(2) => Kind::Return,
        Some(3) => Kind::Error,
        Some(4) => Kind::Signal,
        _ => Kind::Other,
    };
    let mut message = Message {
        kind,
        answers: 0,
        path: "",
        interface: "",
        member: "",
        error: "",
        signature: "",
        body: Reader { bytes: &[], at: 0, big: reader.big },
    };
    let end = reader.list(8)?;
    while reader.at < end {
        reader.align(8)?;
        let code = reader.byte()?;
        let signature = reader.signature()?;
        match (code, signature) {
            (1, "o") => message.path = reader.text()?,
            (2, "s") => message.interface = reader.text()?,
            (3, "s") => message.member = reader.text()?,
            (4, "s") => message.error = reader.text()?,
            (5, "u") => message.answers = reader.number()?,
            (8, "g") => message.signature = reader.signature()?,
            (_, other) => reader.skip(other)?,
        }
    }
    reader.align(8)?;
    message.body.bytes = bytes.get(reader.at..).ok_or(Malformed)?;
    Ok(message)
}

impl<'a> Message<'a> {
    /// Its body from the beginning. What is in it is aligned as it was in the message: both begin at a multiple of 8.
    pub(super) fn body(&self) -> Reader<'a> {
        self.body
    }
}

/// Reads values one after the other; an error ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    /// Where it is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn align(&mut self, to: usize) -> Result<(), Malformed> {
        self.take(self.at.next_multiple_of(to) - self.at).map(|_| ())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|it| it[0])
    }

    pub(super) fn number(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).ok().filter(|it| *it <= MESSAGE_BYTES_MAX).ok_or(Malformed)
    }

    /// Text, or the path of an object.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.length()?;
        self.ended(length)
    }

    pub(super) fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = self.byte()?.into();
        self.ended(length)
    }

    /// With a zero behind it.
    fn ended(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?;
        if self.byte()? == 0 { Ok(text) } else { Err(Malformed) }
    }

    /// Begins a list whose items are aligned so; gives where it ends.
    pub(super) fn list(&mut self, item: usize) -> Result<usize, Malformed> {
        let length = self.length()?;
        self.align(item)?;
        let end = self.at.checked_add(length).filter(|it| *it <= self.bytes.len());
        end.ok_or(Malformed)
    }

    /// Leaves out one value, or several, of this signature.
    pub(super) fn skip(&mut self, signature: &str) -> Result<(), Malformed> {
        let mut signature = signature.as_bytes();
        while !signature.is_empty() {
            signature = self.skip_one(signature, DEPTH_MAX)?;
        }
        Ok(())
    }

    /// Leaves out the first value of a signature, gives the rest of the signature.
    fn skip_one<'s>(&mut self, signature: &'s [u8], depth: u32) -> Result<&'s [u8], Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        let (first, rest) = signature.split_first().ok_or(Malformed)?;
        match first {
            b'y' => self.byte().map(|_| ())?,
            b'n' | b'q' => self.fixed(2)?,
            b'b' | b'i' | b'u' | b'h' => self.fixed(4)?,
            b'x' | b't' | b'd' => self.fixed(8)?,
            b's' | b'o' => self.text().map(|_| ())?,
            b'g' => self.signature().map(|_| ())?,
            b'v' => {
                let inner = self.signature()?;
                let left = self.skip_one(inner.as_bytes(), depth)?;
                if !left.is_empty() {
                    return Err(Malformed);
                }
            }
            b'a' => {
                let (item, rest) = rest.split_at(one_type(rest, depth)?);
                self.at = self.list(alignment(item)?)?;
                return Ok(rest);
            }
            b'(' | b'{' => {
                self.align(8)?;
                let (inner, rest) = rest.split_at(one_type(signature, depth)? - 1);
                let mut inner = inner.split_last().ok_or(Malformed)?.1;
                while !inner.is_empty() {
                    inner = self.skip_one(inner, depth)?;
                }
                return Ok(rest);
            }
            _ => return Err(Malformed),
        }
        Ok(rest)
    }

    fn fixed(&mut self, size: usize) -> Result<(), Malformed> {
        self.align(size)?;
        self.take(size).map(|_| ())
    }
}

/// How much of a signature its first whole type is.
fn one_type(signature: &[u8], depth: u32) -> Result<usize, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let close = match signature.first().ok_or(Malformed)? {
        b'a' => return Ok(1 + one_type(&signature[1..], depth)?),
        b'(' => b')',
        b'{' => b'}',
        _ => return Ok(1),
    };
    let mut at = 1;
    while *signature.get(at).ok_or(Malformed)? != close {
        at += one_type(&signature[at..], depth)?;
    }
    Ok(at + 1)
}

fn alignment(item: &[u8]) -> Result<usize, Malformed> {
    Ok(match item.first().ok_or(Malformed)? {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From dbus-daemon 1.14: the answer to `Hello`.
    const HELLO: &str = "6c02010109000000010000003d00000006017300040000003a312e30000000000501750001000000080167000173000007017300140000006f72672e667265656465736b746f702e4442757300000000040000003a312e3000";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn an_answer_is_read() {
        let bytes = bytes(HELLO);
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        let message = decode(&bytes).unwrap();
        assert_eq!((message.kind, message.answers, message.signature), (Kind::Return, 1, "s"));
        assert_eq!(message.body().text(), Ok(":1.0"));
    }

    #[test]
    fn a_call_is_a_message_that_is_read_back() {
        let call = Call {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "ListUnitsByPatterns",
            body: Body::Lists(&[], &["ssh.service", "nginx*"]),
        };
        let bytes = call.encode(7);
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        let message = decode(&bytes).unwrap();
        assert_eq!((message.member, message.signature, message.path), (call.member, "asas", call.path));
        let mut body = message.body();
        assert_eq!(body.list(4), Ok(body.at()), "the first list is empty");
        let end = body.list(4).unwrap();
        assert_eq!((body.text(), body.text()), (Ok("ssh.service"), Ok("nginx*")));
        assert_eq!(body.at(), end);
    }

    #[test]
    fn values_of_every_type_are_left_out_and_unknown_ones_are_not() {
        let mut writer = Writer(Vec::new());
        // v: a{s(uv)} with one entry, then the text behind it.
        writer.0.extend([8, b'a', b'{', b's', b'(', b'u', b'v', b')', b'}', 0]);
        writer.pad(4);
        let mut entry = Writer(Vec::new());
        entry.text("key");
        entry.pad(8);
        entry.number(5);
        entry.0.extend([1, b'y', 0, 9]);
        writer.number(entry.0.len());
        writer.pad(8);
        writer.0.extend(entry.0);
        writer.text("behind");
        let mut reader = Reader { bytes: &writer.0, at: 0, big: false };
        reader.skip("v").unwrap();
        assert_eq!(reader.text(), Ok("behind"));
        for wrong in ["m", "(", "a", "a{s", "(u"] {
            let mut reader = Reader { bytes: &writer.0, at: 0, big: false };
            assert_eq!(reader.skip(wrong), Err(Malformed), "{wrong}");
        }
        let deep = "a".repeat(200) + "y";
        assert_eq!(Reader { bytes: &writer.0, at: 0, big: false }.skip(&deep), Err(Malformed));
    }

    #[test]
    fn lengths_that_are_too_large_are_not_believed() {
        for (at, value) in [(4, u32::MAX), (4, 1 << 20), (12, u32::MAX), (12, 1 << 20)] {
            let mut bytes = bytes(HELLO);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(length(&bytes), Err(Malformed), "{at} {value}");
        }
        assert_eq!(length(&bytes(HELLO)[..15]), Ok(None));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\n"), Err(Malformed));
    }
}
