//! A service that rules call: it writes down what comes, and answers as its path says. Beside it somebody else, whom
//! nobody should call.

use crate::mqtt::SOON;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Bytes of an answer without an end; far more than two sockets hold between them.
const ENDLESS: usize = 64 << 20;

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) port: u16,
    elsewhere: u16,
    heard: Arc<Mutex<Vec<String>>>,
    stolen: Arc<Mutex<Vec<String>>>,
    taken: Arc<Mutex<usize>>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |it: &TcpListener| it.local_addr().unwrap().port();
        let it = Self {
            port: port(&own),
            elsewhere: port(&other),
            heard: Arc::default(),
            stolen: Arc::default(),
            taken: Arc::default(),
        };
        let (service, thief) = (it.clone(), it.clone());
        std::thread::spawn(move || own.incoming().flatten().for_each(|it| service.serve(it)));
        std::thread::spawn(move || other.incoming().flatten().for_each(|it| thief.steal(it)));
        it
    }

    fn serve(&self, mut stream: TcpStream) {
        let request = whole(&mut stream);
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let head = |rest: &str| format!("HTTP/1.1 {rest}\r\nConnection: close\r\n");
        let answer = if path.contains("/away") {
            let location = format!("Location: http://127.0.0.1:{}/stolen", self.elsewhere);
            format!("{}{location}\r\nContent-Length: 0\r\n\r\n", head("307 Temporary Redirect"))
        } else if path.contains("/echo") {
            let key =
                request.lines().find_map(|it| it.to_lowercase().starts_with("x-key:").then(|| &it[6..]));
            let text = format!("you said {}", key.unwrap_or_default().trim());
            format!("{}Content-Length: {}\r\n\r\n{text}", head("200 OK"), text.len())
        } else if path.contains("/endless") {
            format!("{}\r\n", head("200 OK"))
        } else {
            format!("{}Content-Length: 0\r\n\r\n", head("200 OK"))
        };
        self.heard.lock().unwrap().push(request);
        let _ = stream.write_all(answer.as_bytes());
        if path.contains("/endless") {
            let piece = [b'x'; 8 << 10];
            while *self.taken.lock().unwrap() < ENDLESS && stream.write_all(&piece).is_ok() {
                *self.taken.lock().unwrap() += piece.len();
            }
        }
    }

    fn steal(&self, mut stream: TcpStream) {
        let request = whole(&mut stream);
        self.stolen.lock().unwrap().push(request);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }

    /// A request that came here, with a text in it.
    pub(crate) fn heard(&self, text: &str) -> Option<String> {
        self.heard.lock().unwrap().iter().find(|it| it.contains(text)).cloned()
    }

    /// A request that came to somebody else, with a text in it.
    pub(crate) fn stolen(&self, text: &str) -> Option<String> {
        self.stolen.lock().unwrap().iter().find(|it| it.contains(text)).cloned()
    }

    /// Bytes of the endless answer that were taken.
    pub(crate) fn taken(&self) -> usize {
        *self.taken.lock().unwrap()
    }
}

/// A request with its body.
fn whole(stream: &mut TcpStream) -> String {
    let _ = stream.set_read_timeout(Some(SOON));
    let _ = stream.set_write_timeout(Some(SOON));
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read) = stream.read(&mut buffer) {
        bytes.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let complete = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")?.parse().ok());
            body.len() >= length.unwrap_or(0)
        });
        if complete || read == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
