//! The MQTT client against a scripted broker that speaks just enough MQTT 3.1.1, over TLS and plain TCP.

use bus::{
    Identity,
    client::{Client, ClientConfig, ClientEvent, NotSent, Refusal, refusal},
    tls::{MasterCertificate, client_config, peer_key},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);
const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const DISCONNECT: u8 = 0xe0;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The broker's end of a connection.
struct Peer(Box<dyn Stream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        Self(Box::new(timeout(LIMIT, listener.accept()).await.unwrap().unwrap().0))
    }
    /// Takes CONNECT and SUBSCRIBE, and says yes to both.
    async fn welcome(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener).await;
        peer.expect(CONNECT).await;
        peer.send(&[0x20, 2, 0, 0]).await;
        let subscribe = peer.expect(SUBSCRIBE).await;
        peer.send(&[0x90, 3, subscribe[0], subscribe[1], 0]).await;
        peer
    }
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }
    async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let length = u8::try_from(2 + topic.len() + payload.len()).unwrap();
        assert!(length < 128);
        self.send(
            &[&[PUBLISH, length, 0, u8::try_from(topic.len()).unwrap()], topic.as_bytes(), payload].concat(),
        )
        .await;
    }
    /// The next packet but pings: its first byte and what follows the length.
    async fn packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.0.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.0.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((first, body))
    }
    async fn expect(&mut self, wanted: u8) -> Vec<u8> {
        let (first, body) = timeout(LIMIT, self.packet()).await.expect("a packet in time").unwrap();
        assert_eq!(first, wanted, "{body:?}");
        body
    }
    async fn expect_publish(&mut self) -> (String, Vec<u8>) {
        let body = self.expect(PUBLISH).await;
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        (String::from_utf8(body[2..2 + topic].to_vec()).unwrap(), body[2 + topic..].to_vec())
    }
}

async fn broker() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn config(addresses: &[&str]) -> ClientConfig {
    ClientConfig {
        addresses: addresses.iter().map(|&it| it.to_owned()).collect(),
        tls: None,
        client_id: "m1".to_owned(),
        login: Some(("user".to_owned(), "word".to_owned())),
        subscribe: vec!["ctl/m1/in".to_owned()],
        packet_max: 1024,
        keep_alive_s: 30,
        backoff_max_ms: 50,
    }
}

async fn next(events: &mut mpsc::Receiver<ClientEvent>) -> ClientEvent {
    timeout(LIMIT, events.recv()).await.expect("an event in time").expect("the task lives")
}

async fn connected(events: &mut mpsc::Receiver<ClientEvent>) -> String {
    match next(events).await {
        ClientEvent::Connected { address } => address,
        other => panic!("{other:?}"),
    }
}

async fn disconnected(events: &mut mpsc::Receiver<ClientEvent>) -> (String, u64) {
    match next(events).await {
        ClientEvent::Disconnected { reason, retry_ms, .. } => (reason, retry_ms),
        other => panic!("{other:?}"),
    }
}

async fn message(events: &mut mpsc::Receiver<ClientEvent>) -> (String, Vec<u8>) {
    match next(events).await {
        ClientEvent::Message { topic, payload } => (topic, payload.to_vec()),
        other => panic!("{other:?}"),
    }
}

/// Publishes as soon as that is possible: `Connected` is told a moment before.
async fn publish(client: &Client, payload: &[u8]) {
    let until = Instant::now() + LIMIT;
    while client.publish("ctl/m1/out".to_owned(), payload.to_vec(), false).await.is_err() {
        assert!(Instant::now() < until, "never connected");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_proves_its_key_subscribes_and_only_then_is_connected() {
    let dir = tempfile::tempdir().unwrap();
    let master = MasterCertificate::load_or_create(dir.path(), &["localhost".to_owned()]).unwrap();
    let identity = Identity::from_secrets([1; 32], [2; 32]);
    let (listener, address) = broker().await;
    let tls = Some(client_config(&[master.pin()], Some(&identity)));
    let begin = Instant::now();
    let (client, mut events) = Client::start(ClientConfig { tls, ..config(&[&address]) });
    let (tcp, _) = listener.accept().await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(master.server_config(&[])).accept(tcp).await.unwrap();
    assert_eq!(peer_key(tls.get_ref().1), Some(identity.public()));
    let mut peer = Peer(Box::new(tls));
    let hello = peer.expect(CONNECT).await;
    assert_eq!(hello, b"\0\x04MQTT\x04\xc2\0\x1e\0\x02m1\0\x04user\0\x04word");
    peer.send(&[0x20, 2, 0, 0]).await;
    let subscribe = peer.expect(SUBSCRIBE).await;
    assert_eq!(&subscribe[2..], b"\0\x09ctl/m1/in\0");
    assert_eq!(client.publish("ctl/m1/out".to_owned(), b"x".to_vec(), false).await, Err(NotSent));
    assert!(events.try_recv().is_err());
    peer.publish("ctl/m1/in", b"early").await;
    peer.send(&[0x90, 3, subscribe[0], subscribe[1], 0]).await;
    assert_eq!(connected(&mut events).await, address);
    println!("from start to connected: {:?}", begin.elapsed());
    assert_eq!(message(&mut events).await, ("ctl/m1/in".to_owned(), b"early".to_vec()));
    publish(&client, b"hello").await;
    assert_eq!(peer.expect_publish().await, ("ctl/m1/out".to_owned(), b"hello".to_vec()));
    peer.publish("ctl/m1/in", b"welcome").await;
    assert_eq!(message(&mut events).await, ("ctl/m1/in".to_owned(), b"welcome".to_vec()));
}

#[tokio::test]
async fn a_server_with_another_key_is_not_told_anything() {
    let dir = tempfile::tempdir().unwrap();
    let master = MasterCertificate::load_or_create(dir.path(), &["localhost".to_owned()]).unwrap();
    let (listener, address) = broker().await;
    let tls = Some(client_config(&[model::ContentHash([0; 32])], None));
    let (_client, mut events) = Client::start(ClientConfig { tls, ..config(&[&address]) });
    let (tcp, _) = listener.accept().await.unwrap();
    assert!(tokio_rustls::TlsAcceptor::from(master.server_config(&[])).accept(tcp).await.is_err());
    let (reason, _) = disconnected(&mut events).await;
    assert!(reason.contains("pinned"), "{reason}");
}

#[tokio::test]
async fn what_was_published_before_close_arrives_and_then_a_disconnect() {
    let (listener, address) = broker().await;
    let (client, mut events) = Client::start(config(&[&address]));
    let mut peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
    let count = 60_u8;
    for number in 0..count {
        publish(&client, &[number; 900]).await;
    }
    let reader = async {
        for number in 0..count {
            assert_eq!(peer.expect_publish().await.1, [number; 900]);
        }
        peer.expect(DISCONNECT).await;
        drop(peer);
    };
    tokio::join!(client.close(), reader);
    assert!(timeout(LIMIT, events.recv()).await.unwrap().is_none());
    assert!(timeout(Duration::from_millis(100), listener.accept()).await.is_err(), "it stays so");
}

#[tokio::test]
async fn dropping_all_handles_disconnects_in_good_order() {
    let (listener, address) = broker().await;
    let (client, mut events) = Client::start(config(&[&address]));
    let mut peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
    let second = client.clone();
    drop(client);
    publish(&second, b"last").await;
    drop(second);
    assert_eq!(peer.expect_publish().await.1, b"last");
    peer.expect(DISCONNECT).await;
}

#[tokio::test]
async fn a_reader_that_is_gone_or_full_does_not_keep_it_from_ending() {
    let (listener, address) = broker().await;
    let (client, mut events) = Client::start(config(&[&address]));
    let mut peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
    for _ in 0..200 {
        peer.publish("ctl/m1/in", b"x").await;
    }
    publish(&client, b"goodbye").await;
    let until = Instant::now();
    tokio::join!(client.close(), async {
        assert_eq!(peer.expect_publish().await.1, b"goodbye");
        peer.expect(DISCONNECT).await;
        drop(peer);
    });
    assert!(until.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn after_a_loss_it_comes_back_and_publishes_nothing_old() {
    let (listener, address) = broker().await;
    let (client, mut events) = Client::start(config(&[&address]));
    let peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
    client.spread_next(1);
    drop(peer);
    let (_, retry_ms) = disconnected(&mut events).await;
    assert!(retry_ms <= 1, "{retry_ms}");
    assert_eq!(client.publish("ctl/m1/out".to_owned(), b"old".to_vec(), false).await, Err(NotSent));
    let mut peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
    publish(&client, b"new").await;
    assert_eq!(peer.expect_publish().await.1, b"new");
}

#[tokio::test]
async fn it_does_not_connect_again_before_the_loss_was_noticed() {
    let (listener, address) = broker().await;
    let (client, mut events) = Client::start(config(&[&address]));
    let mut peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
    peer.publish("ctl/m1/in", b"unread").await;
    drop(peer);
    assert!(timeout(Duration::from_millis(300), listener.accept()).await.is_err());
    assert_eq!(client.publish("ctl/m1/out".to_owned(), b"old".to_vec(), false).await, Err(NotSent));
    message(&mut events).await;
    disconnected(&mut events).await;
    let _peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
}

#[tokio::test]
async fn a_dead_address_is_left_for_the_next_one() {
    let dead = {
        let (_listener, address) = broker().await;
        address
    };
    let (listener, address) = broker().await;
    let (_client, mut events) = Client::start(config(&["nonsense", &dead, &address]));
    let (reason, _) = disconnected(&mut events).await;
    assert!(reason.contains("`nonsense`"), "{reason}");
    let (reason, _) = disconnected(&mut events).await;
    assert!(reason.contains("refused"), "{reason}");
    let _peer = Peer::welcome(&listener).await;
    assert_eq!(connected(&mut events).await, address);
}

#[tokio::test]
async fn refusals_are_told_with_their_reason_and_waited_out() {
    let (listener, address) = broker().await;
    let backoff = ClientConfig { backoff_max_ms: 20, ..config(&[&address]) };
    let (_client, mut events) = Client::start(backoff);
    for (answers, word) in [
        (vec![&[0x20, 2, 0, 4][..]], "BadUserNamePassword"),
        (vec![&[0x20, 2, 0, 0], &[0x90, 3, 0, 1, 0x80]], "subscription"),
        (vec![&[0x30, 2, 0, 0]], "ConnAck"),
        (vec![&[0xff; 8]], ""),
        (vec![], ""),
    ] {
        let mut peer = Peer::accept(&listener).await;
        peer.expect(CONNECT).await;
        for answer in &answers {
            peer.send(answer).await;
        }
        drop(answers);
        let told = async { disconnected(&mut events).await };
        let (reason, retry_ms) = if word.is_empty() {
            drop(peer);
            told.await
        } else {
            told.await
        };
        assert!(reason.contains(word) && retry_ms <= 20, "{reason} {retry_ms}");
    }
}

#[tokio::test]
async fn a_refused_subscription_is_told_even_if_the_server_hangs_up_at_once() {
    let (listener, address) = broker().await;
    let (_client, mut events) = Client::start(ClientConfig { backoff_max_ms: 1, ..config(&[&address]) });
    for _ in 0..20 {
        let mut peer = Peer::accept(&listener).await;
        peer.expect(CONNECT).await;
        peer.send(&[0x20, 2, 0, 0]).await;
        let subscribe = peer.expect(SUBSCRIBE).await;
        peer.send(&[0x90, 3, subscribe[0], subscribe[1], 0x80]).await;
        drop(peer);
        let (reason, _) = disconnected(&mut events).await;
        assert_eq!(refusal(&reason), Some(Refusal::Subscription), "{reason}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_sent_and_the_connection_lives_on() {
    let (listener, address) = broker().await;
    let (client, mut events) = Client::start(config(&[&address]));
    let mut peer = Peer::welcome(&listener).await;
    connected(&mut events).await;
    publish(&client, b"before").await;
    assert_eq!(client.publish("ctl/m1/out".to_owned(), vec![0; 1024], false).await, Err(NotSent));
    assert_eq!(client.publish("ctl/+/out".to_owned(), vec![0; 10], false).await, Err(NotSent));
    publish(&client, &[7; 1024 - 10 - 7]).await;
    assert_eq!(peer.expect_publish().await.1, b"before");
    assert_eq!(peer.expect_publish().await.1, [7; 1024 - 10 - 7]);
    // The other way, the packet is refused before it is read.
    peer.send(&[PUBLISH, 0x80, 0x80, 0x40]).await;
    peer.send(&[0; 100]).await;
    disconnected(&mut events).await;
}

#[tokio::test]
async fn it_ends_at_once_while_it_waits_for_the_network() {
    let (listener, address) = broker().await;
    let (client, events) = Client::start(config(&[&address]));
    let silent: Arc<TcpStream> = Arc::new(listener.accept().await.unwrap().0);
    let begin = Instant::now();
    client.close().await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    drop((silent, events));
}
