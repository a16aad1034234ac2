//! A recorder between a minion and its master: every byte that goes over the wire, both ways.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Bytes that are kept.
const BYTES_MAX: usize = 32 << 20;
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    ports: Vec<u16>,
    over: Arc<AtomicBool>,
}

impl Capture {
    /// One listener for each port.
    pub(crate) fn start(to: &[u16]) -> Self {
        let (bytes, over) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let ports = to.iter().map(|port| listen(*port, &bytes, &over)).collect();
        Self { bytes, ports, over }
    }
    pub(crate) fn port(&self, index: usize) -> u16 {
        self.ports[index]
    }
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}

fn listen(to: u16, bytes: &Arc<Mutex<Vec<u8>>>, over: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (bytes, over) = (Arc::clone(bytes), Arc::clone(over));
    thread::spawn(move || {
        while !over.load(Ordering::Acquire) {
            let Ok((near, _)) = listener.accept() else {
                thread::park_timeout(TICK);
                continue;
            };
            near.set_nonblocking(false).unwrap();
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let pair = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
            for (from, to) in pair {
                let (bytes, over) = (Arc::clone(&bytes), Arc::clone(&over));
                thread::spawn(move || copy(from, to, &bytes, &over));
            }
        }
    });
    port
}

fn copy(mut from: TcpStream, mut to: TcpStream, bytes: &Mutex<Vec<u8>>, over: &AtomicBool) {
    from.set_read_timeout(Some(TICK * 10)).unwrap();
    let mut chunk = vec![0; 64 * 1024];
    while !over.load(Ordering::Acquire) {
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                let mut kept = bytes.lock().unwrap();
                if kept.len() < BYTES_MAX {
                    kept.extend_from_slice(&chunk[..count]);
                }
                drop(kept);
                if to.write_all(&chunk[..count]).is_err() {
                    break;
                }
            }
            Err(error) if crate::mqtt::waits(error.kind()) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
