//! A byte stream as MQTT packets: buffers that are there only while something is in them, and a limit on writing.

use bus::packet::{Packet, PacketError, Version, decode, encode, frame_length};
use bytes::BytesMut;
use model::broken;
use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf},
    time::Instant,
};

/// A peer that takes nothing for so long is gone.
pub(crate) const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// Smallest and largest step by which the reading buffer grows.
const READ_STEP_MIN: usize = 512;
const READ_STEP_MAX: usize = 16 * 1024;

/// Whether a turn may take bytes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Yes.
    On,
    /// No: back-pressure.
    Off,
}

/// A connection, from packets to bytes.
pub(crate) struct Wire<S> {
    read: ReadHalf<S>,
    write: WriteHalf<S>,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
    version: Version,
    packet_max: usize,
    received_at: Instant,
    progressed_at: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, packet_max: usize) -> Self {
        let (read, write) = tokio::io::split(stream);
        let now = Instant::now();
        Self {
            read,
            write,
            input: BytesMut::new(),
            output: BytesMut::new(),
            unflushed: false,
            version: Version::V4,
            packet_max: limit(packet_max),
            received_at: now,
            progressed_at: now,
        }
    }

    /// What the peer turned out to be.
    pub(crate) fn agree(&mut self, version: Version, packet_max: usize) {
        self.version = version;
        self.packet_max = limit(packet_max);
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Puts a packet into the output; it leaves with the next turns.
    pub(crate) fn push(&mut self, packet: &Packet) {
        if self.output.is_empty() && !self.unflushed {
            self.progressed_at = Instant::now();
        }
        encode(self.version, packet, &mut self.output);
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.output.len()
    }

    /// When bytes came last.
    pub(crate) fn received_at(&self) -> Instant {
        self.received_at
    }

    /// Counts a time in which nothing was read on purpose as heard.
    pub(crate) fn excuse_silence(&mut self) {
        self.received_at = Instant::now();
    }

    /// When a peer that takes nothing is given up.
    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        (self.unflushed || !self.output.is_empty()).then(|| self.progressed_at + WRITE_LIMIT)
    }

    /// The next whole packet that came.
    pub(crate) fn take(&mut self) -> Result<Option<Packet>, PacketError> {
        match frame_length(&self.input, self.packet_max)? {
            Some(length) if self.input.len() >= length => {
                let frame = self.input.split_to(length).freeze();
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                decode(self.version, frame).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Moves bytes one way or the other, once. Safe to drop.
    pub(crate) async fn turn(&mut self, reading: Reading) -> io::Result<()> {
        let writing = self.unflushed || !self.output.is_empty();
        tokio::select! {
            count = read_some(&mut self.read, &mut self.input, self.packet_max), if reading == Reading::On => {
                if count? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.received_at = Instant::now();
            }
            done = write_some(&mut self.write, &mut self.output, &mut self.unflushed), if writing => {
                done?;
                self.progressed_at = Instant::now();
                if self.output.is_empty() {
                    self.output = BytesMut::new();
                }
            }
            else => std::future::pending::<()>().await,
        }
        Ok(())
    }

    /// Writes what is left, for at most `limit`, and ends the stream in good order.
    pub(crate) async fn finish(mut self, limit: Duration) {
        let all = async {
            self.write.write_all(&self.output).await?;
            self.write.shutdown().await
        };
        // The connection is over either way.
        let _ = tokio::time::timeout(limit, all).await;
    }
}

/// The largest packet that is taken.
fn limit(packet_max: usize) -> usize {
    if broken::leaves_out("packet-limit") { usize::MAX } else { packet_max }
}

/// Reads once. Who waits for the first bytes of a packet has no buffer for them: most do, nearly always.
async fn read_some<R: AsyncRead + Unpin>(
    read: &mut R,
    input: &mut BytesMut,
    packet_max: usize,
) -> io::Result<usize> {
    if input.is_empty() {
        return poll_fn(|context| {
            let mut room = [MaybeUninit::uninit(); READ_STEP_MIN];
            let mut first = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut *read).poll_read(context, &mut first))?;
            input.extend_from_slice(first.filled());
            Poll::Ready(Ok(first.filled().len()))
        })
        .await;
    }
    if input.capacity() - input.len() < READ_STEP_MIN {
        let wanted = frame_length(input, packet_max).ok().flatten().unwrap_or(0);
        let missing = wanted.saturating_sub(input.len());
        input.reserve(missing.clamp(READ_STEP_MIN, READ_STEP_MAX));
    }
    read.read_buf(input).await
}

async fn write_some<W: AsyncWrite + Unpin>(
    write: &mut W,
    output: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<()> {
    if output.is_empty() {
        write.flush().await?;
        *unflushed = false;
        return Ok(());
    }
    let count = write.write_buf(output).await?;
    *unflushed = true;
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
}
