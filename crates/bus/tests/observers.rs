//! TLS clients that are not ours, without a certificate of their own, verify the master by its certificate's file.

use bus::tls::MasterCertificate;
use std::process::{Output, Stdio};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

/// Says `HTTP/1.1 200` and `hello` to whoever asks anything over TLS.
async fn serve(master: &MasterCertificate) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(master.server_config(&["http/1.1"]));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let _ = tls.read(&mut [0; 1024]).await;
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            let _ = tls.shutdown().await;
        }
    });
    port
}

/// `None` if there is no such program here.
async fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.ok()
}

const PYTHON: &str = "
import socket, ssl, sys
port, name, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=path)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with context.wrap_socket(socket.create_connection(('127.0.0.1', port), 10), server_hostname=name) as tls:
    tls.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    assert b'hello' in tls.recv(1024)
";

#[tokio::test]
async fn openssl_curl_and_python_connect_by_file_and_by_right_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let master = MasterCertificate::load_or_create(dir.path(), &names).unwrap();
    let other = MasterCertificate::load_or_create(&dir.path().join("other"), &names).unwrap();
    let (right, wrong) = (dir.path().join("tls.crt"), dir.path().join("wrong.crt"));
    std::fs::write(&wrong, other.certificate_pem()).unwrap();
    let port = serve(&master).await.to_string();
    for (file, name, good) in [
        (&right, "localhost", true),
        (&right, "127.0.0.1", true),
        (&wrong, "localhost", false),
        (&right, "x.lab", false),
    ] {
        let file = file.to_str().unwrap();
        let url = format!("https://{name}:{port}/");
        let resolve = format!("{name}:{port}:127.0.0.1");
        let connect = format!("127.0.0.1:{port}");
        let by_name = if name.starts_with('1') { "-verify_ip" } else { "-verify_hostname" };
        let openssl =
            ["s_client", "-connect", &connect, "-CAfile", file, "-verify_return_error", by_name, name];
        for (program, arguments) in [
            ("openssl", &openssl[..]),
            ("curl", &["-sS", "-m", "20", "--cacert", file, "--resolve", &resolve, &url]),
            ("python3", &["-c", PYTHON, &port, name, file]),
        ] {
            let Some(output) = run(program, arguments).await else { continue };
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), good, "{program} {name} {file}: {said}");
        }
    }
}
