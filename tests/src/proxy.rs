//! A TCP proxy between minions and master that cuts, delays, drips or swallows what passes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often a silent connection looks whether it is over.
const TURN: Duration = Duration::from_millis(20);
/// Bytes taken at once.
const CHUNK: usize = 16 << 10;

/// What it does to what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing.
    Pass,
    /// Ends each connection after so many bytes of both directions.
    CutAfter(u64),
    /// Keeps every piece for so long.
    Delay(Duration),
    /// So many bytes at a time, with a pause after each.
    Drip(usize, Duration),
    /// Takes everything and passes nothing on.
    Swallow,
}

#[derive(Debug)]
struct Shared {
    way: Mutex<Way>,
    over: AtomicBool,
    /// Grows when all connections are to end.
    epoch: AtomicU64,
    accepted: AtomicU64,
}

impl Shared {
    fn way(&self) -> Way {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proxy; ends with all its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    at: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens, and passes on.
    pub fn start(at: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).expect("the address is free");
        let shared = Arc::new(Shared {
            way: Mutex::new(Way::Pass),
            over: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        });
        let (common, at) = (shared.clone(), listener.local_addr().expect("it is bound"));
        let thread = std::thread::spawn(move || accept(&listener, to, &common));
        Self { shared, at, thread: Some(thread) }
    }
    /// From now on, for what passes on all connections.
    pub fn set(&self, way: Way) {
        *self.shared.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }
    /// Ends all connections there are.
    pub fn cut(&self) {
        self.shared.epoch.fetch_add(1, Ordering::Relaxed);
    }
    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.at);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, to: SocketAddr, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while let Ok((near, _)) = listener.accept() {
        if shared.over.load(Ordering::Relaxed) {
            break;
        }
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // The master is away: so is the connection.
        let Ok(far) = TcpStream::connect(to) else { continue };
        let epoch = shared.epoch.load(Ordering::Relaxed);
        let passed = Arc::new(AtomicU64::new(0));
        for (from, into) in [(&near, &far), (&far, &near)] {
            let (Ok(from), Ok(into)) = (from.try_clone(), into.try_clone()) else { continue };
            let direction = Direction { from, into, epoch, passed: passed.clone(), shared: shared.clone() };
            threads.push(std::thread::spawn(move || direction.run()));
        }
        threads.retain(|it| !it.is_finished());
    }
    for thread in threads {
        let _ = thread.join();
    }
}

struct Direction {
    from: TcpStream,
    into: TcpStream,
    epoch: u64,
    passed: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl Direction {
    fn run(mut self) {
        let _ = self.from.set_read_timeout(Some(TURN));
        let mut buffer = [0; CHUNK];
        while !self.is_over() {
            let size = match self.shared.way() {
                Way::Drip(bytes, _) => bytes.clamp(1, CHUNK),
                _ => CHUNK,
            };
            match self.from.read(&mut buffer[..size]) {
                Ok(0) => break,
                Ok(length) if self.pass(&buffer[..length]).is_some() => {}
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let _ = self.from.shutdown(Shutdown::Both);
        let _ = self.into.shutdown(Shutdown::Both);
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed) || self.shared.epoch.load(Ordering::Relaxed) != self.epoch
    }

    /// Passes a piece on; `None` ends the connection.
    fn pass(&mut self, piece: &[u8]) -> Option<()> {
        let mut piece = piece;
        match self.shared.way() {
            Way::Pass => {}
            Way::Swallow => return Some(()),
            Way::Delay(time) | Way::Drip(_, time) => std::thread::sleep(time),
            Way::CutAfter(bytes) => {
                let before = self.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
                let room = bytes.saturating_sub(before);
                if room < piece.len() as u64 {
                    piece = &piece[..usize::try_from(room).unwrap_or(0)];
                    let _ = self.into.write_all(piece);
                    return None;
                }
            }
        }
        self.into.write_all(piece).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn it_passes_on_and_cuts_after_so_many_bytes() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = echo.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = echo.accept() {
                let mut answer = stream.try_clone().unwrap();
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = writeln!(answer, "{line}");
                }
            }
        });
        let proxy = Proxy::start("127.0.0.1:0".parse().unwrap(), to);
        let say = |text: &str| {
            let mut stream = TcpStream::connect(proxy.at).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut heard = String::new();
            let _ = BufReader::new(stream).read_line(&mut heard);
            heard
        };
        assert_eq!(say("hello\n"), "hello\n");
        proxy.set(Way::CutAfter(9));
        assert_eq!(say("hello\n"), "hel", "six there, three back");
        proxy.set(Way::Drip(1, Duration::from_millis(1)));
        assert_eq!(say("hello\n"), "hello\n");
        assert_eq!(proxy.accepted(), 3);
    }
}
